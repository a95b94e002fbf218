"""Files on the mounted file system: the routes, the store below them, and the sweep that clears up after both.

An upload is a part (`parts`) until it is whole, hashed and synced; then it is linked to its name (`store`), with a record
of what it is (`record`) in one of many directories (`directories`). The routes know the store by its methods alone; those
that list the files, as JSON or as links, are in `pages`.

What is checked when: an upload against its Content-Length and the digest it promises, before it has a name; a download
against its record's size, so that a file cut short is never sent as whole. Its SHA-256 is not computed again: a byte that
has changed on disk is sent under the ETag and Repr-Digest of the content that was stored, by which a client can tell. What
finds it here is the sweep, where ``SWEEP_VERIFY`` tells it to (`verify`).
"""
