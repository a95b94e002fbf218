"""The process of the embedded AWS: moto's services behind the gate, on one loopback port."""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import select
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

# The gate reads buckets from paths, so moto must not read them from host names.
os.environ["S3_IGNORE_SUBDOMAIN_BUCKETNAME"] = "true"

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import BaseWSGIServer, make_server
from werkzeug.wrappers import Response

from local.cloud.actions import Account
from local.cloud.contents import Contents, neutralize_bucket_policies
from local.cloud.gate import Gate
from local.cloud.keeper import Keeper
from local.cloud.principals import ACCOUNT_ID, Principals
from local.cloud.queues import Queues
from local.cloud.refusal import refusal
from local.cloud.request import CloudRequest, SignedScope

CONTROL_PREFIX = "/_local/"


class EmbeddedCloud:
    """A WSGI application. `/_local/…` belongs to the local stack: `health`, `restore` and `inventory`."""

    def __init__(self, folder: Path, region: str, partition: str = "aws") -> None:
        neutralize_bucket_policies()
        account = Account(partition, ACCOUNT_ID)
        self._contents = Contents(account, region)
        self._keeper = Keeper(folder / "contents.sqlite3", self._contents)
        self._queues = Queues(self._contents.has_messages, self._contents.default_wait)
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._gate = Gate(self._serve, Principals(account), self._contents, account)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        path = str(environ.get("PATH_INFO", ""))
        if path.startswith(CONTROL_PREFIX):
            return self._control(path.removeprefix(CONTROL_PREFIX))(environ, start_response)
        return self._gate(environ, start_response)

    def _control(self, name: str) -> Response:
        answers = {
            "health": lambda: {"status": "ok"},
            "restore": self._keeper.restore,
            "inventory": self._contents.inventory,
        }
        if name not in answers:
            return Response("unknown control request\n", 404)
        return Response(json.dumps(answers[name]()), content_type="application/json")

    def _serve(self, request: CloudRequest, scope: SignedScope, environ: dict[str, Any]) -> Response:
        if request.path.startswith("/moto-api"):
            return refusal(request, scope.service, "AccessDenied", "The emulator's own interface is closed.")
        if scope.service != "sqs":
            return self._run(request, scope, environ)
        answer = self._queues.call(
            request,
            lambda changed: self._run(changed, scope, environ),
            lambda: _client_is_there(environ.get("werkzeug.socket")),
        )
        return answer or Response(status=499)

    def _run(self, request: CloudRequest, scope: SignedScope, environ: dict[str, Any]) -> Response:
        environ["wsgi.input"] = io.BytesIO(request.body)
        environ["CONTENT_LENGTH"] = str(len(request.body))
        response = Response.from_app(self._moto, environ, buffered=True)
        if response.status_code < 400:
            self._keeper.after(request, scope)
        return response


def _client_is_there(connection: socket.socket | None) -> bool:
    if connection is None:
        return True
    readable, _, _ = select.select([connection], [], [], 0)
    try:
        return not readable or bool(connection.recv(1, socket.MSG_PEEK))
    except OSError:
        return False


class _QuietHandler(MotoRequestHandler):
    protocol_version = "HTTP/1.1"
    # Answers are small and many: waiting for more to send costs 40 ms each on a kept-alive connection.
    disable_nagle_algorithm = True

    def log_request(self, *args: Any, **kwargs: Any) -> None:
        pass


def _shut_down_with_stdin(server: BaseWSGIServer) -> None:
    # os.read, because a reader of sys.stdin still waiting at exit is a fatal error of the interpreter.
    while os.read(0, 4096):
        pass
    server.shutdown()


def main(arguments: list[str] | None = None) -> int:
    """Serves until SIGTERM. Prints one JSON line with the port once it listens."""
    parser = argparse.ArgumentParser(prog="python -m local.cloud.server")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--region", required=True)
    options = parser.parse_args(arguments)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    application = EmbeddedCloud(options.folder, options.region)
    try:
        # Bound here, because the server's own way ends the process with a message about web development.
        listening = socket.create_server(("127.0.0.1", options.port), backlog=128)
    except OSError as error:
        print(
            f"port {options.port} on 127.0.0.1: {error.strerror}; choose another one, as in make up AWS_PORT=4600",
            file=sys.stderr,
        )
        return 1
    with listening:
        port = int(listening.getsockname()[1])
        server = make_server(
            "127.0.0.1",
            port,
            application,
            threaded=True,
            request_handler=_QuietHandler,
            fd=listening.fileno(),
        )
    # A long poll must not hold the process up.
    setattr(server, "daemon_threads", True)  # noqa: B010
    # shutdown() waits for the serving loop, so it must not run in it; the signal handler does.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Whoever started this holds the other end of stdin: it closes with that process, however it dies.
    threading.Thread(target=_shut_down_with_stdin, args=[server], daemon=True).start()
    print(json.dumps({"port": port}), flush=True)
    server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
