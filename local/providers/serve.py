"""The process of a stand-in provider: it serves the engine that has started it, and no longer."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.provider.experimental.provider import Provider
from pulumi.provider.experimental.server import ProviderServicer
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc, status_pb2

from local.providers.standin import Unfinished

_LOOK_SECONDS = 1.0


def serve(provider: Provider, version: str) -> None:
    """Serves until the engine ends it, or is gone itself: a killed engine says nothing."""
    threading.Thread(target=_end_with, args=[os.getppid()], daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(provider, version))


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


async def _serve(provider: Provider, version: str) -> None:
    server = grpc.aio.server(options=_GRPC_CHANNEL_OPTIONS)
    # The engine's address is the last argument.
    servicer = Servicer(sys.argv[1:], version, provider, engine_address=sys.argv[-1])
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    os._exit(0)
