"""Plugins as the engine starts them, and what serves them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from local.providers import plugin_process
from local.providers.serve import ProviderServer

VARIABLE = "LOCAL_TEST_OF_PROVIDERS"
COMMAND = [sys.executable, "-I", "-S", plugin_process.__file__]


@contextmanager
def plugin(server: ProviderServer, *, package: str = "aws") -> Iterator[tuple[subprocess.Popen[str], grpc.Channel]]:
    process = subprocess.Popen(
        [*COMMAND, package, "1.2.3", "127.0.0.1:1"],
        env=os.environ | server.environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    with process, grpc.insecure_channel(f"127.0.0.1:{int(process.stdout.readline())}") as channel:
        try:
            yield process, channel
        finally:
            process.kill()


def region_of(channel: grpc.Channel) -> str:
    """The region that a provider is configured for, as one of its functions tells it."""
    request = provider_pb2.InvokeRequest(tok="aws:index/getRegion:getRegion", args=PropertyValue.marshal_map({}))
    answer = provider_pb2_grpc.ResourceProviderStub(channel).Invoke(request, timeout=60)
    return str(getattr(answer, "return")["region"])


def configure(channel: grpc.Channel, region: str) -> None:
    settings = PropertyValue.marshal_map({"region": PropertyValue(region)})
    provider_pb2_grpc.ResourceProviderStub(channel).Configure(provider_pb2.ConfigureRequest(args=settings), timeout=60)


def test_each_plugin_has_a_provider_of_its_own() -> None:
    with ProviderServer({}) as server, plugin(server) as (_, one), plugin(server) as (_, other):
        configure(one, "eu-west-1")
        configure(other, "us-west-2")
        assert (region_of(one), region_of(other)) == ("eu-west-1", "us-west-2")


def test_the_engine_ends_its_plugins_by_an_interrupt() -> None:
    with ProviderServer({}) as server, plugin(server, package="random") as (process, _):
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == -signal.SIGINT


def test_the_server_ends_after_its_plugins_which_an_interrupted_engine_still_needs() -> None:
    ended = threading.Event()
    with plugin_of_a_server_that_ends(ended) as (process, channel):
        configure(channel, "eu-west-1")
        assert not ended.is_set()
        process.kill()
        assert ended.wait(60)


@contextmanager
def plugin_of_a_server_that_ends(ended: threading.Event) -> Iterator[tuple[subprocess.Popen[str], grpc.Channel]]:
    server = ProviderServer({}).__enter__()

    def end() -> None:
        server.__exit__(None, None, None)
        ended.set()

    with plugin(server) as (process, channel):
        thread = threading.Thread(target=end)
        thread.start()
        yield process, channel
    thread.join()


def test_what_the_providers_are_told_is_gone_with_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "before")
    with ProviderServer({VARIABLE: None, f"{VARIABLE}_2": "told"}):
        assert (os.environ.get(VARIABLE), os.environ.get(f"{VARIABLE}_2")) == (None, "told")
    assert (os.environ.get(VARIABLE), os.environ.get(f"{VARIABLE}_2")) == ("before", None)
