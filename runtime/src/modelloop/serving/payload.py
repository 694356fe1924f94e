"""Seldon's message format: from a request's JSON to rows, and from predictions to a response.

A request is one of
    {"data": {"names": [...], "ndarray": [[...], ...]}}
    {"data": {"names": [...], "tensor": {"shape": [rows, columns], "values": [...]}}}
    {"jsonData": {"feature": value, ...}} or {"jsonData": [{...}, ...]}
where `names` may be left out, and `meta.puid`, if given, comes back in the response. A tensor is
answered with a tensor, everything else with an ndarray.

Feedback is
    {"response": {...}, "reward": number, "truth": {"data": {"ndarray": [[label], ...]}}}
with the response as the server sent it, of which the id, the prediction and its time are read.
"""

import reprlib
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from modelloop.contract.contract import Contract
from modelloop.serving.predictor import Prediction, Refusal

FEEDBACK_FIELDS = {"request", "response", "reward", "truth"}
LONGEST_PUID = 200
FLOAT_MAX = sys.float_info.max
EXAMPLE = '{"data": {"names": [...], "ndarray": [[...]]}} or {"jsonData": [{"feature": value}]}'


@dataclass(frozen=True)
class Request:
    """A prediction request.

    Attributes:
        names: the feature of each column; None or empty means the contract's order.
        rows: as JSON gives them, not yet checked against the contract.
        tensor: whether they came as a tensor.
        puid: the request's id.
    """

    names: list[str] | None
    rows: list[list[object]]
    tensor: bool
    puid: str


@dataclass(frozen=True)
class Feedback:
    """The labels, the reward, or both, of the n rows of a request.

    Attributes:
        puid: the request's id, empty where it is unknown.
        version: the model version that answered, empty where it is unknown.
        reward: from 0 to 1, how good the answers were; None where there are labels alone.
        truth: the labels, n classes or n values; None where there is a reward alone.
        predicted: the predictions, n classes or n values; None where they are unknown.
        answered_at: when the model answered, in Unix seconds; None where it is unknown.
    """

    puid: str
    version: str = ""
    reward: float | None = None
    truth: list[str] | list[float] | None = None
    predicted: list[str] | list[float] | None = None
    answered_at: float | None = None

    @property
    def rows(self) -> int:
        """How many rows it is for."""
        return len(self.truth or [None])


def decode(message: Mapping[str, Any], puid: str = "") -> Request:
    """Read a message.

    Args:
        message: the decoded JSON object, or a gRPC message in the same form.
        puid: the request's id where the message has none; without either it gets a new one.

    Raises:
        Refusal: 400 where the message does not have the form above, 415 for another kind of
            content, 422 where records or the tensor's shape make no table.
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


def encode(
    prediction: Prediction, contract: Contract, request: Request, tags: Mapping[str, object]
) -> dict[str, Any]:
    """Write the response to a request.

    Args:
        prediction: the answer.
        contract: of the model, which names the outputs.
        request: a tensor is answered with a tensor, and the response has the request's id.
        tags: of `meta`. Feedback reads `model_version`, `answered_at` (Unix seconds) and, of a
            classification, `prediction` (the classes) from them.
    """
    outputs = prediction.outputs
    rows = (
        {"tensor": {"shape": list(outputs.shape), "values": outputs.ravel().tolist()}}
        if request.tensor
        else {"ndarray": outputs.tolist()}
    )
    return {
        "data": {"names": contract.output_names, **rows},
        "meta": {"puid": request.puid, "tags": dict(tags)},
    }


def log_entry(
    request: Request, response: Mapping[str, Any], contract: Contract
) -> dict[str, object]:
    """An answered request as the request log keeps it: rows in the contract's order, outputs."""
    names = [column.name for column in contract.features]
    given = request.names or names
    order = [given.index(name) for name in names]
    meta, data = response["meta"], response["data"]
    rows = data["ndarray"] if "ndarray" in data else data["tensor"]["values"]
    return {
        "puid": meta["puid"],
        **{name: value for name, value in meta["tags"].items() if name != "model_name"},
        "inputs": [[row[place] for place in order] for row in request.rows],
        "outputs": rows,
    }


def decode_feedback(message: Mapping[str, Any], contract: Contract) -> Feedback:
    """Read a feedback message.

    Without truth and reward, the reward is 0: Seldon's own client leaves out a 0.

    Raises:
        Refusal: 400 where the message does not have the form above.
    """
    unknown = message.keys() - FEEDBACK_FIELDS
    if unknown:
        raise _bad_feedback(f"{min(unknown)!r} is no field of it")
    for name in ("request", "response", "truth"):
        if not isinstance(message.get(name), dict | None):
            raise _bad_feedback(f"`{name}` is not an object")
    response, truth = message.get("response") or {}, message.get("truth")
    if not message:
        raise _bad_feedback("it is empty")
    reward = message.get("reward", 0 if truth is None else None)
    # By exact type: for Python, a boolean is an integer. NaN is outside every range, too.
    if reward is not None and not (type(reward) in (int, float) and 0 <= reward <= 1):
        raise _bad_feedback("`reward` is not a number from 0 to 1")
    puid = _puid(response.get("meta"))
    tags = (response.get("meta") or {}).get("tags") or {}
    if not isinstance(tags, dict):
        raise _bad_feedback("`response.meta.tags` is not an object")
    labels = None if truth is None else _labels(truth, contract)
    predicted = _predicted(response, tags, contract) if labels else None
    if labels and predicted and len(predicted) != len(labels):
        raise _bad_feedback(f"{len(labels)} labels for {len(predicted)} predictions")
    answered_at = tags.get("answered_at")
    return Feedback(
        puid=puid,
        version=str(tags.get("model_version") or ""),
        reward=reward,
        truth=labels,
        predicted=predicted,
        answered_at=answered_at if type(answered_at) in (int, float) else None,
    )


def _labels(truth: Mapping[str, Any], contract: Contract) -> list[Any]:
    """The labels in a message: text for classes, numbers for values."""
    rows = _first_values(truth)
    if not rows:
        raise _bad_feedback("`truth` holds no labels")
    if contract.classes:
        # JSON and protobuf know no integers, but classes may be called 0 and 1.
        rows = [str(int(v)) if type(v) is float and v.is_integer() else v for v in rows]
        rows = [str(v) if type(v) in (int, float) else v for v in rows]
        if contract.target.dtype == "bool":
            rows = [str(v).lower() if type(v) is bool else v for v in rows]
    for row, value in enumerate(rows):
        if not (isinstance(value, str) if contract.classes else _is_number(value)):
            what = f"one of {contract.classes[:5]}" if contract.classes else "a finite number"
            raise _bad_feedback(f"`truth` has {reprlib.repr(value)} in row {row}, not {what}")
    return rows


def _predicted(
    response: Mapping[str, Any], tags: Mapping[str, Any], contract: Contract
) -> list[Any] | None:
    """The predictions in a response: classes or values; None where it has none."""
    if contract.classes:
        named = tags.get("prediction")
        if isinstance(named, list) and all(isinstance(name, str) for name in named):
            return named
        return None
    rows = _first_values(response)
    return rows if rows and all(map(_is_number, rows)) else None


def _is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value of JSON is a finite number: no NaN, no boolean, no overflow as a float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return -FLOAT_MAX <= value <= FLOAT_MAX


def _first_values(message: Mapping[str, Any]) -> list[Any]:
    """The first value of each row in a message's `data`."""
    data = message.get("data")
    if not isinstance(data, dict):
        return []
    if isinstance(data.get("tensor"), dict):
        values = data["tensor"].get("values")
        return values if isinstance(values, list) else []
    rows = data.get("ndarray")
    if not isinstance(rows, list):
        return []
    return [row[0] if isinstance(row, list) and row else row for row in rows]


def _puid(meta: Any) -> str:
    puid = meta.get("puid") if isinstance(meta, dict) else meta
    if not isinstance(meta, dict | None) or not isinstance(puid, str | None):
        raise _malformed("`meta` is not an object with a text `puid`")
    if puid and len(puid) > LONGEST_PUID:
        raise _malformed(f"`puid` has {len(puid)} characters, at most {LONGEST_PUID} are taken")
    return puid or ""


def _table(data: Any) -> tuple[list[str] | None, list[list[object]]]:
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


def _tensor(tensor: Any) -> list[list[object]]:
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


def _records(data: Any) -> tuple[list[str] | None, list[list[object]]]:
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
