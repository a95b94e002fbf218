"""Files on the mounted file system: the routes, the store below them, and the sweep that clears up after both.

An upload is a part (`parts`) until it is whole, hashed and synced; then it is linked to its name (`store`), with a record
of what it is (`record`) in one of many directories (`directories`). The routes know the store by its methods alone.
"""
