"""The two ASGI extensions by which large bodies and files pass between the network and the disk.

Both are offered in ``scope["extensions"]`` where a connection can do it: one that is encrypted can't. An application
that finds neither sends and receives by ordinary messages, so it runs unchanged on any ASGI server.

``http.response.zerocopysend``
    As https://asgi.readthedocs.io/en/latest/extensions.html#zero-copy-send says: after ``http.response.start``, with

    - ``file``: an object with ``fileno()`` that sendfile(2) can read from
    - ``offset``: int, where in the file to begin; without it, at the descriptor's position
    - ``count``: int, how many bytes; without it, up to the end
    - ``more_body``: bool, False by default

    ``send`` returns when the bytes have left for the network. It raises EOFError if the file has fewer, OSError with a
    number if the file can't be read, and an OSError without one when the client has gone, as it does for every message
    (ASGI 2.4). After any of them the connection is at its end.

``http.request.receiveinto``
    This server's own, offered for a body with a Content-Length. The message says where the rest of it goes:

    - ``write``: ``write(piece: memoryview, more_body: bool)``, called in a thread with one piece after the other, in
      order; ``more_body`` is False with the last one. A piece lasts until the call returns, and may be empty.

    ``receive`` then goes on to return ``http.request`` with an empty ``body``, now and then and for the end, and in
    ``count`` how many bytes were written since. It raises what ``write`` raises.

Either message may have ``run``: ``run(call, *args)`` makes a call that may wait for a disk in a thread, and returns an
awaitable; without it, the event loop's default executor does. What ``run`` raises, ``send`` or ``receive`` raises.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

ZERO_COPY_SEND = "http.response.zerocopysend"
RECEIVE_INTO = "http.request.receiveinto"

Run = Callable[..., Awaitable[Any]]
Write = Callable[[memoryview, bool], object]


class ClientGone(OSError):
    """The client has gone; of no errno, so that it is told from a file's error."""


def in_executor(call: Callable[..., Any], *args: Any) -> Awaitable[Any]:
    return asyncio.get_running_loop().run_in_executor(None, call, *args)
