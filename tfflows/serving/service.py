"""Calls of the engine within limits of time and number, counted for Prometheus."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import prometheus_client as prometheus
from grpc import StatusCode

from tfflows.serving.engine import DEFAULT_SIGNATURE, Engine, ServingError, Version

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


@dataclass(frozen=True)
class Limits:
    """What a request may take.

    Attributes:
        batch: largest number of rows.
        bytes: largest size of its body.
        seconds: until its answer.
        waiting: largest number of requests at once.
    """

    batch: int = 1024
    bytes: int = 64 * 2**20
    seconds: float = 60.0
    waiting: int = 256


class Service:
    """What the REST and the gRPC server share: the engine, its worker threads, the limits and the metrics."""

    def __init__(self, engine: Engine, limits: Limits) -> None:
        self.engine, self.limits = engine, limits
        self._threads = ThreadPoolExecutor(max_workers=os.cpu_count(), thread_name_prefix="predict")
        self._free = threading.BoundedSemaphore(limits.waiting)
        self.registry = prometheus.CollectorRegistry()
        known = {"registry": self.registry}
        self._requests = prometheus.Counter(
            "tfflows_requests", "Requests answered, by status code", ["api", "method", "model", "code"], **known
        )
        self._request_seconds = prometheus.Histogram(
            "tfflows_request_seconds",
            "From a request's last byte to its answer",
            ["api", "model"],
            buckets=BUCKETS,
            **known,
        )
        self._model_seconds = prometheus.Histogram(
            "tfflows_model_seconds", "The model's own time", ["model", "signature"], buckets=BUCKETS, **known
        )

    async def call(
        self, api: str, method: str, model: str, function: Callable[[], Any], seconds: float | None = None
    ) -> Any:
        """Returns the result of `function()`, run on a worker thread.

        Args:
            api: "rest" or "grpc", for the metrics.
            method: of the API, for the metrics.
            model: its name, for the metrics; unknown names are counted as "".
            function: of no arguments; it cannot be stopped, but it is not started after its time.
            seconds: the client's deadline, if that is earlier than the limit.

        Raises:
            ServingError: what `function` raised; UNAVAILABLE where too many requests wait, DEADLINE_EXCEEDED,
                or INTERNAL for a fault of the server, which is logged.
        """
        model = model if model in self.engine.names() else ""
        seconds = min(seconds or self.limits.seconds, self.limits.seconds)
        start, code = time.perf_counter(), StatusCode.CANCELLED
        try:
            result = await self._run(function, seconds)
            code = StatusCode.OK
            return result
        except ServingError as error:
            code = error.code
            raise
        except Exception as error:
            code = StatusCode.INTERNAL
            logging.getLogger(__name__).exception("a request failed")
            raise ServingError(code, f"the server failed with {type(error).__name__}: its log says where") from error
        finally:
            self._requests.labels(api, method, model, code.name).inc()
            self._request_seconds.labels(api, model).observe(time.perf_counter() - start)

    async def _run(self, function: Callable[[], Any], seconds: float) -> Any:
        if not self._free.acquire(blocking=False):
            waiting = self.limits.waiting
            raise ServingError(StatusCode.UNAVAILABLE, f"{waiting} requests wait already: send it again later")
        future = self._threads.submit(function)
        future.add_done_callback(lambda _: self._free.release())
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), seconds)
        except TimeoutError:
            raise ServingError(
                StatusCode.DEADLINE_EXCEEDED, f"no answer within {seconds:g} s: send smaller batches"
            ) from None

    def predict(
        self, version: Version, signature: str, inputs: Mapping[str, np.ndarray], outputs: Iterable[str] = ()
    ) -> dict[str, np.ndarray]:
        """Calls `version.predict` and records its time."""
        with self._model_seconds.labels(version.model, signature or DEFAULT_SIGNATURE).time():
            return version.predict(signature, inputs, outputs)

    def metrics(self) -> bytes:
        """Returns the metrics in Prometheus's text format."""
        return prometheus.generate_latest(self.registry)

    def close(self) -> None:
        """Ends the worker threads; calls that have not begun are dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)
