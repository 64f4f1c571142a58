"""TensorFlow Serving's REST API (https://www.tensorflow.org/tfx/serving/api_rest): predict, status and metadata.

POST /v1/models/NAME[/versions/N]:predict    {"signature_name", "instances" or "inputs"}
GET  /v1/models/NAME[/versions/N]            the state of the versions
GET  /v1/models/NAME[/versions/N]/metadata   the signatures
GET  /metrics                                for Prometheus; TensorFlow Serving has another path
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from google.protobuf import json_format
from grpc import StatusCode
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tfflows.serving import engine
from tfflows.serving.engine import ServingError, Version
from tfflows.serving.rpc import model_status, signature_def_map
from tfflows.serving.service import Limits, Service

HTTP = {
    StatusCode.INVALID_ARGUMENT: 400,
    StatusCode.NOT_FOUND: 404,
    StatusCode.RESOURCE_EXHAUSTED: 429,
    StatusCode.CANCELLED: 499,
    StatusCode.INTERNAL: 500,
    StatusCode.UNIMPLEMENTED: 501,
    StatusCode.UNAVAILABLE: 503,
    StatusCode.DEADLINE_EXCEEDED: 504,
}


def app(service: Service) -> Starlette:
    """Returns the ASGI application."""

    async def predict(request: Request) -> Response:
        body = await _body(request, service.limits)
        name, number = request.path_params["name"], request.path_params.get("number")
        return await service.call("rest", "predict", name, lambda: _predict(service, name, number, body))

    async def status(request: Request) -> Response:
        name, number = request.path_params["name"], request.path_params.get("number")
        return await service.call(
            "rest", "status", name, lambda: _message(model_status(service.engine.versions(name, number)))
        )

    async def metadata(request: Request) -> Response:
        name, number = request.path_params["name"], request.path_params.get("number")
        return await service.call("rest", "metadata", name, lambda: _metadata(service.engine.find(name, number)))

    async def other(request: Request) -> Response:
        raise ServingError(StatusCode.UNIMPLEMENTED, "flows have no classes to predict: use predict")

    async def metrics(request: Request) -> Response:
        return PlainTextResponse(service.metrics(), media_type="text/plain; version=0.0.4")

    routes = [Route("/metrics", metrics)]
    for path in ("/v1/models/{name}/versions/{number:int}", "/v1/models/{name}"):
        routes += [
            Route(path + ":predict", predict, methods=["POST"]),
            Route(path + ":classify", other, methods=["POST"]),
            Route(path + ":regress", other, methods=["POST"]),
            Route(path + "/metadata", metadata),
            Route(path, status),
        ]
    handlers = {ServingError: _refuse, ClientDisconnect: _refuse_nobody, 404: _malformed, 405: _malformed}
    return Starlette(routes=routes, exception_handlers=handlers)


async def _body(request: Request, limits: Limits) -> bytes:
    """Returns the body, which is read no further than the limit."""
    body = bytearray()
    try:
        async with asyncio.timeout(limits.seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limits.bytes:
                    raise ServingError(
                        StatusCode.RESOURCE_EXHAUSTED,
                        f"the request has more than {limits.bytes} bytes: send smaller batches, or use gRPC",
                    )
    except TimeoutError:
        raise ServingError(StatusCode.DEADLINE_EXCEEDED, f"no whole request within {limits.seconds:g} s") from None
    return bytes(body)


def _predict(service: Service, name: str, number: int | None, body: bytes) -> Response:
    version = service.engine.find(name, number)
    signature, values, by_row = _parse(body, version)
    arrays = engine.from_json(version, signature, values, service.limits.batch)
    results = {key: value.tolist() for key, value in service.predict(version, signature, arrays).items()}
    single = next(iter(results.values())) if len(results) == 1 else None
    if not by_row:
        return _json({"outputs": results if single is None else single})
    if single is None:
        rows = [dict(zip(results, row, strict=True)) for row in zip(*results.values(), strict=True)]
        return _json({"predictions": rows})
    return _json({"predictions": single})


def _parse(body: bytes, version: Version) -> tuple[str, dict[str, Any], bool]:
    """Returns (signature, {input: nested list}, whether by rows) of a request in either of the two formats."""
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _invalid(f"the request is not JSON: {error}") from None
    if not isinstance(request, dict) or ("instances" in request) == ("inputs" in request):
        raise _invalid('the request must be a JSON object with either "instances" (rows) or "inputs" (columns)')
    signature = request.get("signature_name", "")
    if not isinstance(signature, str):
        raise _invalid(f"signature_name is {signature!r}, expected a string")
    names = sorted(version.specs(signature))
    if "inputs" in request:
        columns = request["inputs"]
        if not isinstance(columns, dict):
            columns = {_only(names): columns}
        return signature, columns, False
    rows = request["instances"]
    if not isinstance(rows, list) or not rows:
        raise _invalid("instances must be a list of at least one row")
    if not any(isinstance(row, dict) for row in rows):
        return signature, {_only(names): rows}, True
    if any(not isinstance(row, dict) or row.keys() != rows[0].keys() for row in rows):
        raise _invalid("all instances must have the same keys")
    return signature, {key: [row[key] for row in rows] for key in rows[0]}, True


def _only(names: Sequence[str]) -> str:
    if len(names) != 1:
        raise _invalid(f"this signature has several inputs: give objects with the keys {', '.join(names)}")
    return names[0]


def _metadata(version: Version) -> Response:
    return _json(
        {
            "model_spec": {"name": version.model, "signature_name": "", "version": str(version.number)},
            "metadata": {"signature_def": _dict(signature_def_map(version))},
        }
    )


def _message(message: Any) -> Response:
    return _json(_dict(message))


def _dict(message: Any) -> dict[str, Any]:
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def _json(content: Any, status: int = 200) -> Response:
    return Response(json.dumps(content), status, media_type="application/json")


def _invalid(message: str) -> ServingError:
    return ServingError(StatusCode.INVALID_ARGUMENT, message)


def _refuse(request: Request, error: ServingError) -> Response:
    return _json({"error": str(error)}, HTTP[error.code])


def _refuse_nobody(request: Request, error: Exception) -> Response:
    return Response(status_code=499)  # the client has gone


def _malformed(request: Request, error: Exception) -> Response:
    return _json(
        {
            "error": f"Malformed request: {request.method} {request.url.path}; there is POST "
            "/v1/models/NAME[/versions/N]:predict, GET /v1/models/NAME[/versions/N][/metadata] and GET /metrics"
        },
        400,
    )
