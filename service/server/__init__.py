"""The connection: HTTP/1.1 between a socket and an ASGI application, for uvicorn to put in place of its own protocol.

Bounds what a client may send, how slowly it may go about it and what is held of it meanwhile; lets files be sent and
large bodies be received past the event loop. It knows nothing of this application.
"""
