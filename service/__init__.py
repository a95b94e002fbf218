"""The application: an API for files and ingest, a worker that stores what came in, a sweep of abandoned uploads.

One image, one command each: ``python -m service api | worker | sweep | check``. Nothing is imported here, so that
``check``, which runs every few seconds in every container, stays cheap.
"""
