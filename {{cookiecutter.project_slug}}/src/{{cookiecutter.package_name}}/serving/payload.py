"""Seldon's message format: from a request's JSON to rows, and from predictions to a response.

A request is one of
    {"data": {"names": [...], "ndarray": [[...], ...]}}
    {"data": {"names": [...], "tensor": {"shape": [rows, columns], "values": [...]}}}
    {"jsonData": {"feature": value, ...}} or {"jsonData": [{...}, ...]}
where `names` may be left out, and `meta.puid`, if given, comes back in the response. A tensor is
answered with a tensor, everything else with an ndarray.
"""

import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from ..contract import Contract
from .predictor import Prediction, Refusal

FEEDBACK_FIELDS = {"request", "response", "reward", "truth"}
FLOAT64_MAX = sys.float_info.max
LONGEST_PUID = 200
EXAMPLE = '{"data": {"names": [...], "ndarray": [[...]]}} or {"jsonData": [{"feature": value}]}'


@dataclass(frozen=True)
class Request:
    """What a message asks: `rows` as JSON gives them, not yet checked against the contract."""

    names: list[str] | None
    rows: list[list[object]]
    tensor: bool
    puid: str


@dataclass(frozen=True)
class Feedback:
    """What became of a prediction; `truth` is a message as the client sent it."""

    puid: str
    reward: float | None
    truth: dict[str, object] | None


def decode(message: Mapping[str, object], puid: str = "") -> Request:
    """Read a message.

    Args:
        message: the decoded JSON object, or what a gRPC message says in the same form.
        puid: the request's id where the message has none; without either it gets a new one.

    Raises:
        Refusal: 400 where the message has not the form above, 415 for another kind of content,
            422 where records or the tensor's shape make no table.
    """
    puid = _puid(message.get("meta")) or puid or uuid.uuid4().hex
    kinds = message.keys() & {"data", "jsonData", "strData", "binData"}
    if kinds == {"data"}:
        data = message["data"]
        return Request(*_table(data), tensor="tensor" in data, puid=puid)
    if kinds == {"jsonData"}:
        return Request(*_records(message["jsonData"]), tensor=False, puid=puid)
    raise Refusal(
        415,
        "UNSUPPORTED_PAYLOAD",
        f"the message holds {', '.join(sorted(kinds)) or 'no data'}; send {EXAMPLE}",
    )


def encode(prediction: Prediction, contract: Contract, request: Request) -> dict[str, object]:
    """Write the response to a request."""
    outputs = prediction.outputs
    tags: dict[str, object] = {"model_name": contract.name, "model_version": contract.version}
    if prediction.labels is not None:
        tags["prediction"] = prediction.labels
    rows = (
        {"tensor": {"shape": list(outputs.shape), "values": outputs.ravel().tolist()}}
        if request.tensor
        else {"ndarray": outputs.tolist()}
    )
    return {
        "data": {"names": contract.output_names, **rows},
        "meta": {"puid": request.puid, "tags": tags},
    }


def decode_feedback(message: Mapping[str, object]) -> Feedback:
    """Read a feedback message: `response` as it was answered, `reward`, `truth`, `request`.

    Raises:
        Refusal: 400 where the message has not this form.
    """
    unknown = message.keys() - FEEDBACK_FIELDS
    if unknown:
        raise _bad_feedback(f"{min(unknown)!r} is no field of it")
    for name in ("request", "response", "truth"):
        if not isinstance(message.get(name), dict | None):
            raise _bad_feedback(f"`{name}` is not an object")
    reward, truth = message.get("reward"), message.get("truth")
    if reward is None and not truth:
        raise _bad_feedback("it has neither `reward` nor `truth`")
    # By exact type: for Python, a boolean is an integer. NaN is outside every range, too.
    if reward is not None and not (
        type(reward) in (int, float) and -FLOAT64_MAX <= reward <= FLOAT64_MAX
    ):
        raise _bad_feedback("`reward` is not a finite number")
    puid = _puid((message.get("response") or {}).get("meta"))
    return Feedback(puid, reward, truth or None)


def _puid(meta: object) -> str:
    puid = meta.get("puid") if isinstance(meta, dict) else meta
    if not isinstance(meta, dict | None) or not isinstance(puid, str | None):
        raise _malformed("`meta` is not an object with a text `puid`")
    if puid and len(puid) > LONGEST_PUID:
        raise _malformed(f"`puid` has {len(puid)} characters, at most {LONGEST_PUID} are taken")
    return puid or ""


def _table(data: object) -> tuple[list[str] | None, list[list[object]]]:
    if not isinstance(data, dict):
        raise _malformed("`data` is not an object")
    names = data.get("names")
    if names is not None and not (
        isinstance(names, list) and all(isinstance(name, str) for name in names)
    ):
        raise _malformed("`names` is not a list of text")
    kinds = data.keys() & {"ndarray", "tensor", "tftensor"}
    if kinds == {"tensor"}:
        return names, _tensor(data["tensor"])
    if kinds != {"ndarray"}:
        raise Refusal(
            415,
            "UNSUPPORTED_PAYLOAD",
            f"`data` holds {', '.join(sorted(kinds)) or 'no rows'}; send {EXAMPLE}",
        )
    if not isinstance(data["ndarray"], list):
        raise _malformed("`ndarray` is not a list")
    return names, data["ndarray"]


def _tensor(tensor: object) -> list[list[object]]:
    if not isinstance(tensor, dict):
        raise _malformed("`tensor` is not an object")
    shape, values = tensor.get("shape"), tensor.get("values")
    if not isinstance(shape, list) or any(type(n) is not int or n < 0 for n in shape):
        raise _malformed("the tensor's `shape` is not a list of whole numbers")
    if not isinstance(values, list) or not set(map(type, values)) <= {int, float}:
        raise _malformed("the tensor's `values` are not all numbers")
    # No columns would pass the product's test with any number of rows.
    if len(shape) != 2 or shape[1] == 0 or shape[0] * shape[1] != len(values):
        raise Refusal(
            422,
            "NOT_A_TABLE",
            f"a tensor of shape {shape[:5]} with {len(values)} values is not [rows, columns]",
        )
    width = shape[1]
    return [values[i : i + width] for i in range(0, len(values), width)]


def _records(data: object) -> tuple[list[str] | None, list[list[object]]]:
    records = [data] if isinstance(data, dict) else data
    if not isinstance(records, list) or not all(isinstance(r, dict) for r in records):
        raise _malformed("`jsonData` is not a record or a list of records")
    if not records:
        return None, []
    names = list(records[0])
    if not names:
        raise Refusal(422, "WRONG_NAMES", "record 0 is empty", row=0)
    for row, record in enumerate(records):
        if record.keys() != records[0].keys():
            raise Refusal(
                422, "WRONG_NAMES", f"record {row} has not the names of record 0", row=row
            )
    return names, [[record[name] for name in names] for record in records]


def _malformed(what: str) -> Refusal:
    return Refusal(400, "BAD_PAYLOAD", f"{what}; send {EXAMPLE}")


def _bad_feedback(what: str) -> Refusal:
    example = '{"response": {"meta": {"puid": "..."}}, "reward": 1}'
    return Refusal(400, "BAD_FEEDBACK", f"{what}; send {example}")
