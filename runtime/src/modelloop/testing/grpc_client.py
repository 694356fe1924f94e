"""A program for the serving environment that calls a server over gRPC.

It reads a JSON line for each call: `method` (Service/Method), the `message` as JSON or `raw` bytes
in base64, and perhaps a `puid` that goes beside the message. It writes a JSON line for each call:
`code`, `details` and, if OK, `answer`. The method `pack` calls nothing: it returns the message as
`raw` bytes.
"""

import base64
import json
import logging
import sys

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message

logging.disable()  # seldon_core says at length that it does without TensorFlow
from seldon_core.proto.prediction_pb2 import (  # noqa: E402
    Feedback,
    SeldonMessage,
    SeldonModelMetadata,
    SeldonModelMetadataRequest,
)

TYPES = {
    "Predict": (SeldonMessage, SeldonMessage),
    "SendFeedback": (Feedback, SeldonMessage),
    "Metadata": (Empty, SeldonModelMetadata),
    "ModelMetadata": (SeldonModelMetadataRequest, SeldonModelMetadata),
}


def main() -> None:
    """Make the calls that the lines of the standard input ask for."""
    channel = grpc.insecure_channel(f"127.0.0.1:{sys.argv[1]}")
    for line in sys.stdin:
        request = json.loads(line)
        service, _, method = request["method"].rpartition("/")
        request_type, response_type = TYPES.get(method, TYPES["Predict"])
        raw = request.get("raw")
        if raw is None:
            sent = packed(request["message"] or {}, request_type())
        else:
            sent = base64.b64decode(raw)
        if method == "pack":
            print(json.dumps({"raw": base64.b64encode(sent).decode()}), flush=True)
            continue
        call = channel.unary_unary(f"/seldon.protos.{service or 'Seldon'}/{method}")
        puid = request.get("puid")
        try:
            got = call(sent, timeout=30, metadata=[("seldon-puid", puid)] if puid else None)
        except grpc.RpcError as error:
            result = {"code": error.code().name, "details": error.details()}
        else:
            message = MessageToDict(response_type.FromString(got))
            result = {"code": "OK", "details": "", "answer": message}
        print(json.dumps(result), flush=True)


def packed(fields: dict, message: Message) -> bytes:
    """A message's bytes; a reward may be infinite, which ParseDict would refuse."""
    reward = fields.pop("reward", None)
    ParseDict(fields, message)
    if reward is not None:
        message.reward = reward
    return message.SerializeToString()


if __name__ == "__main__":
    main()
