"""The REST and the gRPC server on one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

import grpc
import uvicorn

from tfflows.errors import StoreError
from tfflows.serving import rest, rpc
from tfflows.serving.engine import Engine
from tfflows.serving.service import Limits, Service


def serve(
    folders: Mapping[str, Path],
    host: str = "127.0.0.1",
    port: int = 8500,
    rest_port: int = 8501,
    limits: Limits | None = None,
    poll_seconds: float = 2.0,
) -> None:
    """Serves models until SIGINT or SIGTERM; the addresses are printed when all are loaded.

    Args:
        folders: {name: the folder of its version folders}; versions that appear in it are loaded, those that are
            removed are forgotten.
        host: the address to listen on; the default takes no request from another machine.
        port: of gRPC; 0 takes a free one.
        rest_port: of REST; 0 takes a free one.
        limits: of a request; the defaults are for small models.
        poll_seconds: how often the folders are looked at.

    Raises:
        OSError: a port is taken.
        StoreError: a model has no version that can be loaded.
    """
    asyncio.run(_serve(folders, host, port, rest_port, limits or Limits(), poll_seconds))


async def _serve(
    folders: Mapping[str, Path], host: str, port: int, rest_port: int, limits: Limits, poll_seconds: float
) -> None:
    listener = _listen(host, rest_port)
    options = [("grpc.max_receive_message_length", limits.bytes), ("grpc.so_reuseport", 0)]
    rpc_server = grpc.aio.server(interceptors=[rpc.RefuseNoProtobuf()], options=options)
    engine = Engine(folders)
    service = Service(engine, limits)
    try:
        port = _bind(rpc_server, host, port)
        engine.refresh()
        for name in engine.names():
            if not any(version.state == "AVAILABLE" for version in engine.versions(name)):
                raise StoreError("; ".join(version.error for version in engine.versions(name)))
        rpc.add_services(service, rpc_server)
        await rpc_server.start()
        settings = uvicorn.Config(rest.app(service), lifespan="off", log_level="warning", timeout_graceful_shutdown=5)
        poll = asyncio.create_task(_poll(engine, poll_seconds))
        rest_port = listener.getsockname()[1]
        print(f"{', '.join(engine.names())}: gRPC on {host}:{port}, REST on http://{host}:{rest_port}", flush=True)
        with _signals_end_here():
            await uvicorn.Server(settings).serve(sockets=[listener])
        poll.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await poll
    finally:
        listener.close()
        await rpc_server.stop(grace=5)
        service.close()


@contextlib.contextmanager
def _signals_end_here() -> Iterator[None]:
    """A context that takes the signals which uvicorn raises again once it has stopped on them."""
    previous = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


async def _poll(engine: Engine, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await asyncio.to_thread(engine.refresh)
        except OSError as error:  # a folder that cannot be read now may be readable later
            logging.getLogger(__name__).warning("cannot look for versions: %s", error)


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), backlog=1024)
    except OSError as error:
        raise OSError(f"cannot listen on {host}:{port} ({error.strerror}): choose another with --rest-port") from error


def _bind(server: grpc.aio.Server, host: str, port: int) -> int:
    try:
        return server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise OSError(f"cannot listen on {host}:{port}: choose another with --port") from error
