"""Ingest: from a request with a token to a message in the queue.

`payload` reads and checks what has come, `batching` sends what came within a few milliseconds in one call, and the routes
answer 202 once the queue has said yes to the very message.
"""
