"""Calls a server over gRPC, in the serving environment: a JSON line in, a JSON line out.

A line has `method` (Service/Method), the `message` as JSON or `raw` bytes in base64, and may have a
`puid` that goes beside the message. The answer has `code`, `details` and, if OK, `answer`. The
method `pack` calls nothing: it answers the message as `raw` bytes.
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

KINDS = {
    "Predict": (SeldonMessage, SeldonMessage),
    "SendFeedback": (Feedback, SeldonMessage),
    "Metadata": (Empty, SeldonModelMetadata),
    "ModelMetadata": (SeldonModelMetadataRequest, SeldonModelMetadata),
}


def main() -> None:
    """Answer the lines of the standard input."""
    channel = grpc.insecure_channel(f"127.0.0.1:{sys.argv[1]}")
    for line in sys.stdin:
        request = json.loads(line)
        service, _, method = request["method"].rpartition("/")
        kind, answered = KINDS.get(method, KINDS["Predict"])
        raw = request.get("raw")
        sent = packed(request["message"] or {}, kind()) if raw is None else base64.b64decode(raw)
        if method == "pack":
            print(json.dumps({"raw": base64.b64encode(sent).decode()}), flush=True)
            continue
        call = channel.unary_unary(f"/seldon.protos.{service or 'Seldon'}/{method}")
        puid = request.get("puid")
        try:
            got = call(sent, timeout=30, metadata=[("seldon-puid", puid)] if puid else None)
        except grpc.RpcError as error:
            answer = {"code": error.code().name, "details": error.details()}
        else:
            message = MessageToDict(answered.FromString(got))
            answer = {"code": "OK", "details": "", "answer": message}
        print(json.dumps(answer), flush=True)


def packed(fields: dict, message: Message) -> bytes:
    """A message's bytes. ParseDict refuses a reward that is not finite; the wire does not."""
    reward = fields.pop("reward", None)
    ParseDict(fields, message)
    if reward is not None:
        message.reward = reward
    return message.SerializeToString()


if __name__ == "__main__":
    main()
