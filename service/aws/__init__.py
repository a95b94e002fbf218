"""AWS as the service sees it: how its clients are made, the queue and the bucket.

Each is a small protocol whose real side is here and whose twin in memory is in the tests. What AWS says no to is told
apart from what does not answer.
"""
