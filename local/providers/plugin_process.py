"""`plugin_process.py <package> <version> <engine address>`: the process that the engine starts for a provider.

It asks the process that runs the engine for a server, prints its port as the engine expects it, and ends with whichever
of the two ends first. It starts in a hundredth of a second, as it imports nothing but these.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys

SOCKET_VARIABLE = "LOCAL_PROVIDERS"
_LOOK_SECONDS = 1.0


def main() -> None:
    # The engine ends its plugins so.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = os.getppid()
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(os.environ[SOCKET_VARIABLE])
        server.sendall(json.dumps(sys.argv[1:]).encode() + b"\n")
        while (port := server.recv(100)) and port:
            sys.stdout.write(port.decode())
            sys.stdout.flush()
            # A killed engine says nothing.
            while not select.select([server], [], [], _LOOK_SECONDS)[0]:
                if os.getppid() != parent:
                    return


if __name__ == "__main__":
    main()
