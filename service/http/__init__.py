"""What every route shares: middleware, errors, conditions and ranges, digests, tokens, health, and the service's documents.

A route raises a problem, and the middleware around all routes answers it, logs and counts. What is here is about requests
and answers of any route; what a request is for is told in `files` and `ingest`.
"""
