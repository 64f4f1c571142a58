"""TensorFlow Serving's gRPC services PredictionService and ModelService, and their messages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc
import tensorflow_serving.apis.get_model_metadata_pb2 as metadata_pb2
import tensorflow_serving.apis.get_model_status_pb2 as status_pb2
import tensorflow_serving.apis.model_service_pb2_grpc as model_service
import tensorflow_serving.apis.predict_pb2 as predict_pb2
import tensorflow_serving.apis.prediction_service_pb2_grpc as prediction_service
from google.protobuf.message import DecodeError
from grpc import StatusCode

from tfflows.serving import engine
from tfflows.serving.engine import DEFAULT_SIGNATURE, ServingError, Version
from tfflows.serving.service import Service


def add_services(service: Service, server: grpc.aio.Server) -> None:
    """Adds both services to a server. Classify, Regress and MultiInference answer UNIMPLEMENTED."""
    prediction_service.add_PredictionServiceServicer_to_server(_Prediction(service), server)
    model_service.add_ModelServiceServicer_to_server(_Model(service), server)


class RefuseNoProtobuf(grpc.aio.ServerInterceptor):
    """Answers a message that cannot be parsed by INVALID_ARGUMENT, where `grpc.aio` itself says UNKNOWN."""

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler | None:
        """Returns the handler of a call, with a deserializer that does not fail."""
        handler = await continuation(details)
        if handler is None:
            return None

        def parse(message: bytes) -> Any:
            try:
                return handler.request_deserializer(message)
            except DecodeError:
                return None

        async def answer(request: Any, context: grpc.aio.ServicerContext) -> Any:
            if request is None:
                await context.abort(StatusCode.INVALID_ARGUMENT, f"the message is not a request of {details.method}")
            return await handler.unary_unary(request, context)

        return grpc.unary_unary_rpc_method_handler(answer, parse, handler.response_serializer)


class _Prediction(prediction_service.PredictionServiceServicer):
    def __init__(self, service: Service) -> None:
        self.service = service

    async def Predict(self, request: Any, context: grpc.aio.ServicerContext) -> Any:  # noqa: N802
        return await _answer(self.service, "Predict", request, context, lambda: _predict(self.service, request))

    async def GetModelMetadata(self, request: Any, context: grpc.aio.ServicerContext) -> Any:  # noqa: N802
        return await _answer(
            self.service, "GetModelMetadata", request, context, lambda: _metadata(self.service, request)
        )


class _Model(model_service.ModelServiceServicer):
    def __init__(self, service: Service) -> None:
        self.service = service

    async def GetModelStatus(self, request: Any, context: grpc.aio.ServicerContext) -> Any:  # noqa: N802
        def status() -> Any:
            return model_status(self.service.engine.versions(*_spec(request)))

        return await _answer(self.service, "GetModelStatus", request, context, status)


async def _answer(
    service: Service, method: str, request: Any, context: grpc.aio.ServicerContext, function: Callable[[], Any]
) -> Any:
    try:
        return await service.call("grpc", method, request.model_spec.name, function, context.time_remaining())
    except ServingError as error:
        await context.abort(error.code, str(error))


def _spec(request: Any) -> tuple[str, int | None]:
    """Returns (name, version number or None) of the model that a request asks for."""
    spec = request.model_spec
    if not spec.name:
        raise ServingError(StatusCode.INVALID_ARGUMENT, "the request names no model: set model_spec.name")
    if spec.version_label:
        raise ServingError(
            StatusCode.NOT_FOUND, f"there is no version label {spec.version_label!r} here: give the version's number"
        )
    return spec.name, spec.version.value if spec.HasField("version") else None


def _predict(service: Service, request: Any) -> predict_pb2.PredictResponse:
    import tensorflow as tf

    version, signature = service.engine.find(*_spec(request)), request.model_spec.signature_name
    arrays = engine.from_proto(version, signature, request.inputs, service.limits.batch)
    results = service.predict(version, signature, arrays, request.output_filter)
    response = predict_pb2.PredictResponse()
    response.model_spec.name = version.model
    response.model_spec.version.value = version.number
    response.model_spec.signature_name = signature or DEFAULT_SIGNATURE
    for name, value in results.items():
        response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
    return response


def _metadata(service: Service, request: Any) -> metadata_pb2.GetModelMetadataResponse:
    if list(request.metadata_field) != ["signature_def"]:
        raise ServingError(StatusCode.INVALID_ARGUMENT, "metadata_field must be the one word 'signature_def'")
    version = service.engine.find(*_spec(request))
    response = metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = version.model
    response.model_spec.version.value = version.number
    response.metadata["signature_def"].Pack(signature_def_map(version))
    return response


def signature_def_map(version: Version) -> metadata_pb2.SignatureDefMap:
    """Returns the SignatureDefMap of a version."""
    message = metadata_pb2.SignatureDefMap()
    for name, definition in version.signature_defs.items():
        message.signature_def[name].CopyFrom(definition)
    return message


def model_status(versions: Sequence[Version]) -> status_pb2.GetModelStatusResponse:
    """Returns the GetModelStatusResponse of some versions."""
    message = status_pb2.GetModelStatusResponse()
    for version in versions:
        entry = message.model_version_status.add()
        entry.version = version.number
        entry.state = status_pb2.ModelVersionStatus.State.Value(version.state)
        entry.status.error_code = (StatusCode.UNKNOWN if version.error else StatusCode.OK).value[0]
        entry.status.error_message = version.error
    return message
