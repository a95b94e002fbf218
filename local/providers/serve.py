"""The stand-in providers, served by the process that runs the engine.

The engine starts a process for each provider, as it does everywhere: `plugin_process.py`, which asks this process for a
server and stands for it until the engine ends it. A process that imported the SDK itself would take half a second for
that, the stand-in for `aws` a whole one, in every run; this one has imported it for the program.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.provider.experimental.server import ProviderServicer
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc, status_pb2

from local.providers.plugin_process import SOCKET_VARIABLE
from local.providers.standin import StandIn, Unfinished

_START_SECONDS = 60
# An engine that was interrupted finishes the step that it is at, which a provider carries out.
_END_SECONDS = 20


class ProviderServer:
    """Serves, inside its `with`, an engine whose environment has `environment`: a stand-in of its own for each plugin.

    `settings` are variables of this process for as long, None for those that must not be set: a provider reads its own there.
    """

    def __init__(self, settings: Mapping[str, str | None]) -> None:
        self._settings = settings
        self._folder = Path(tempfile.mkdtemp(prefix="providers-"))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="providers", daemon=True)
        self._plugins: set[asyncio.Task[None]] = set()
        self._stack = ExitStack()

    @property
    def environment(self) -> dict[str, str]:
        """What the engine's environment must have for its plugins to find this server."""
        return {SOCKET_VARIABLE: str(self._folder / "socket")}

    def __enter__(self) -> ProviderServer:
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, self._folder, ignore_errors=True)
            stack.callback(_set_variables, _set_variables(self._settings))
            self._thread.start()
            stack.callback(self._end_thread)
            self._listener = self._call(
                asyncio.start_unix_server(self._plugin, self._folder / "socket"), _START_SECONDS
            )
            stack.callback(lambda: self._call(self._end(), _END_SECONDS + _START_SECONDS))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _call(self, work: Any, seconds: float) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)

    def _end_thread(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        self._listener.close()
        if self._plugins:
            _, late = await asyncio.wait(self._plugins, timeout=_END_SECONDS)
            for plugin in late:
                plugin.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self._loop.shutdown_default_executor()

    async def _plugin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One provider, for as long as its process lives."""
        task = asyncio.current_task()
        assert task is not None
        self._plugins.add(task)
        server = grpc.aio.server(options=_GRPC_CHANNEL_OPTIONS)
        try:
            package, version, *arguments = json.loads(await reader.readline())
            provider = await asyncio.to_thread(stand_in, package)
            # The engine's address is the last argument.
            servicer = Servicer(arguments, version, provider, engine_address=arguments[-1])
            provider_pb2_grpc.add_ResourceProviderServicer_to_server(servicer, server)
            port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            writer.write(f"{port}\n".encode())
            await reader.read()
        finally:
            with suppress(asyncio.CancelledError):
                await server.stop(None)
            writer.close()
            self._plugins.discard(task)


def stand_in(package: str) -> StandIn:
    """The stand-in for a package: its own, or one that knows no type and no function."""
    # Imported when it is asked for: a program that uses no more than one package waits for no other.
    match package:
        case "aws":
            from local.providers.aws.plugin import AwsStandIn

            return AwsStandIn()
        case "docker":
            from local.providers.docker.plugin import DockerStandIn

            return DockerStandIn()
        case "random":
            from local.providers.random.plugin import RandomStandIn

            return RandomStandIn()
        case _:
            return StandIn(package)


class Servicer(ProviderServicer):
    """The SDK's servicer, which has no answer for a resource that exists and isn't ready."""

    async def Create(self, request: Any, context: Any) -> Any:
        return await _told(super().Create, request, context)

    async def Update(self, request: Any, context: Any) -> Any:
        return await _told(super().Update, request, context)

    async def Diff(self, request: Any, context: Any) -> Any:
        return await _told(super().Diff, request, context)

    async def Check(self, request: Any, context: Any) -> Any:
        return await _told(super().Check, request, context)

    async def Read(self, request: Any, context: Any) -> Any:
        return await _told(super().Read, request, context)

    async def Delete(self, request: Any, context: Any) -> Any:
        return await _told(super().Delete, request, context)


async def _told(method: Callable[[Any, Any], Awaitable[Any]], request: Any, context: Any) -> Any:
    """The answer, or an error with the words of the exception and nothing else."""
    try:
        return await method(request, context)
    except Unfinished as error:
        # As the bridge does (`pkg/tfbridge/provider.go`, initializationError): the engine keeps the state that comes with it.
        detail = provider_pb2.ErrorResourceInitFailed(
            id=error.resource_id, properties=PropertyValue.marshal_map(error.state), reasons=[str(error)]
        )
        status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=str(error))
        status.details.add().Pack(detail)
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        await context.abort(grpc.StatusCode.UNKNOWN, str(error))
    except Exception as error:
        words = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        await context.abort(grpc.StatusCode.UNKNOWN, words)


def _set_variables(values: Mapping[str, str | None]) -> dict[str, str | None]:
    """Sets them, or takes away those that are None; what they were before."""
    before = {name: os.environ.get(name) for name in values}
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    return before
