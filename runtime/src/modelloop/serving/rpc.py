"""The gRPC side: the services of seldon-core's prediction.proto.

Messages become the same dicts as those of HTTP, so that both go through the same code; a refusal
becomes a status with reason and message. seldon-core's own services give every error as UNKNOWN.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc
from google.protobuf.json_format import ParseDict
from google.protobuf.message import DecodeError, Message
from google.protobuf.struct_pb2 import ListValue, Value
from grpc_reflection.v1alpha import reflection
from seldon_core.proto import prediction_pb2

from modelloop.serving.metrics import Metrics
from modelloop.serving.predictor import Refusal
from modelloop.serving.seldon import SeldonModel
from modelloop.settings import Settings

logger = logging.getLogger(__name__)

# By HTTP status; those that HTTP alone has (paths, methods) have no equivalent here.
CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    415: grpc.StatusCode.INVALID_ARGUMENT,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    500: grpc.StatusCode.INTERNAL,
}
PACKAGE = prediction_pb2.DESCRIPTOR.package

Make = Callable[[bytes, str], Message]
Run = Callable[..., Awaitable[Message]]


async def serve(
    model: SeldonModel, metrics: Metrics, run: Run, address: str, settings: Settings
) -> grpc.aio.Server:
    """Start serving in the running event loop; other processes may serve on the same address.

    Args:
        model: the model that is served.
        metrics: count its prediction requests.
        run: runs the methods of predictions and feedback.
        address: host and port.
        settings: limit the size of a message.

    Raises:
        RuntimeError: the address cannot be used.
    """
    server = grpc.aio.server(
        options=[
            ("grpc.so_reuseport", 1),
            ("grpc.max_receive_message_length", settings.max_body_bytes),
            ("grpc.max_send_message_length", -1),
        ]
    )
    metadata = ParseDict(model.init_metadata(), prediction_pb2.SeldonModelMetadata())

    def predict(request: bytes, puid: str) -> Message:
        message = _message(_read(prediction_pb2.SeldonMessage, request))
        return _answer(model.predict_raw(message, puid))

    def feedback(request: bytes, _: str) -> Message:
        message = _feedback(_read(prediction_pb2.Feedback, request))
        return _answer(model.send_feedback(message))

    methods: dict[str, grpc.RpcMethodHandler] = {
        "Predict": _handler(predict, run, metrics),
        "SendFeedback": _handler(feedback, run),
    }
    get_metadata = _handler(lambda *_: metadata, run)
    services = {
        f"{PACKAGE}.Model": {**methods, "Metadata": get_metadata},
        f"{PACKAGE}.Seldon": {**methods, "ModelMetadata": get_metadata},
        # Where Seldon's own client sends feedback.
        f"{PACKAGE}.Generic": {"SendFeedback": methods["SendFeedback"]},
    }
    server.add_generic_rpc_handlers(
        [
            grpc.method_handlers_generic_handler(service, handlers)
            for service, handlers in services.items()
        ]
    )
    reflection.enable_server_reflection([*services, reflection.SERVICE_NAME], server)
    server.add_insecure_port(address)
    await server.start()
    return server


def _handler(make: Make, run: Run, metrics: Metrics | None = None) -> grpc.RpcMethodHandler:
    """A method that takes bytes, so that bytes that are no message become an INVALID_ARGUMENT.

    Its calls are counted where there are metrics.
    """

    async def handle(request: bytes, context: grpc.aio.ServicerContext) -> Message:
        puid = next((v for k, v in context.invocation_metadata() if k == "seldon-puid"), "")
        start = time.perf_counter()
        try:
            answer = await run(make, request, puid)
            if metrics:
                metrics.count_answer(time.perf_counter() - start)
            return answer
        except Refusal as refusal:
            error = refusal
        except Exception:
            logger.exception("a gRPC call failed")
            error = Refusal(500, "INTERNAL_ERROR", "the server failed; its log has the reason")
        if metrics:
            metrics.count_refusal(error.status)
        await context.abort(CODES[error.status], f"{error.reason}: {error}")

    return grpc.unary_unary_rpc_method_handler(
        handle, response_serializer=lambda message: message.SerializeToString()
    )


def _read(kind: type[Message], request: bytes) -> Message:
    try:
        return kind.FromString(request)
    except (DecodeError, RecursionError, ValueError) as error:
        raise Refusal(400, "BAD_MESSAGE", f"the bytes are no {kind.__name__}: {error}") from error


def _message(message: prediction_pb2.SeldonMessage) -> dict[str, Any]:
    kind = message.WhichOneof("data_oneof")
    content = getattr(message, kind) if kind else None
    if kind == "data":
        content = _table(content)
    elif kind == "jsonData":
        content = _value(content)
    return {"meta": {"puid": message.meta.puid}} | ({kind: content} if kind else {})


def _table(data: prediction_pb2.DefaultData) -> dict[str, Any]:
    names: dict[str, Any] = {"names": list(data.names)}
    kind = data.WhichOneof("data_oneof")
    if kind == "tensor":
        tensor = data.tensor
        return names | {"tensor": {"shape": list(tensor.shape), "values": list(tensor.values)}}
    if kind == "ndarray":
        return names | {"ndarray": _list(data.ndarray)}
    return names | ({kind: None} if kind else {})


def _list(values: ListValue) -> list[object]:
    return [_value(value) for value in values.values]


def _value(value: Value) -> object:
    kind = value.WhichOneof("kind")
    if kind == "list_value":
        return _list(value.list_value)
    if kind == "struct_value":
        return {name: _value(field) for name, field in value.struct_value.fields.items()}
    if kind is None:
        raise Refusal(400, "BAD_MESSAGE", "a value has no kind; send null_value for a missing one")
    return None if kind == "null_value" else getattr(value, kind)


def _feedback(feedback: prediction_pb2.Feedback) -> dict[str, Any]:
    parts = ("request", "response", "truth")
    fields: dict[str, Any] = {
        part: _message(getattr(feedback, part)) for part in parts if feedback.HasField(part)
    }
    # protobuf has 0 for a reward that was not set, and beside labels a 0 is not meant.
    if feedback.reward or "truth" not in fields:
        fields["reward"] = feedback.reward
    return fields


def _answer(message: dict[str, Any]) -> prediction_pb2.SeldonMessage:
    """A response as a message. Rows are filled in here: ParseDict takes three times as long."""
    data = message.get("data", {})
    answer = ParseDict({"meta": message["meta"]}, prediction_pb2.SeldonMessage())
    if data:
        answer.data.names.extend(data["names"])
    if "tensor" in data:
        answer.data.tensor.shape.extend(data["tensor"]["shape"])
        answer.data.tensor.values.extend(data["tensor"]["values"])
    for row in data.get("ndarray", ()):
        _add_numbers(answer.data.ndarray.values.add().list_value, row)
    return answer


def _add_numbers(values: ListValue, row: Sequence[float]) -> None:
    for number in row:
        values.values.add().number_value = number
