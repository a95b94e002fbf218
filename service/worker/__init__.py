"""The worker: from a message in the queue to an object in the bucket.

It takes what it has room to work on (`capacity`), keeps it from others while it works (`visibility`), deletes it once its
object is stored (`deletes`), and goes slowly while the bucket is away (`backoff`). `heartbeat` is what proves that it lives.
"""
