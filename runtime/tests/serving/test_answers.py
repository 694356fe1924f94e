"""Every line of the tables in the page server.md, sent to a running server."""

import base64
import http.client
import json
import math
import socket
import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from urllib.parse import urlencode

import pytest

from modelloop import Project
from modelloop.testing.example_model import FAILS, NAMES, ROW, VALUE
from modelloop.testing.servers import (
    FEEDBACK,
    JSON,
    PREDICT,
    STOPPED_WITHIN,
    Answer,
    GrpcClient,
    Server,
    read,
    running,
)

MAX_ROWS = 20
MAX_BODY = 20_000
PUID = "mine-1"


def table(*rows: list, names: list[str] | None = NAMES) -> dict:
    """A message with rows."""
    return {"data": {"ndarray": list(rows)} | ({"names": names} if names else {})}


def put(name: str, value: object) -> list:
    """The valid row with another value."""
    return [value if name == column else old for column, old in zip(NAMES, ROW, strict=True)]


def tensor(shape: list[int], values: list[float]) -> dict:
    return {"data": {"names": NAMES, "tensor": {"shape": shape, "values": values}}}


def feedback(**fields: object) -> dict:
    return {"response": {"meta": {"puid": PUID}}, **fields}


RECORD = dict(zip(NAMES, ROW, strict=True))

MESSAGES = {
    "names and rows": table(ROW),
    "no names: the contract's order": table(ROW, names=None),
    "names in another order: matched by name": table(ROW[::-1], names=NAMES[::-1]),
    "records": {"jsonData": [RECORD, dict(reversed(RECORD.items()))]},
    "one record": {"jsonData": RECORD},
    "null where it is allowed": table(put("mass", None)),
    "the limits themselves": table(put("mass", 0), put("mass", 10)),
    "a name missing": table([2.5, "red"], names=["mass", "colour"]),
    "a name unknown": table([*ROW, 1], names=[*NAMES, "size"]),
    "a name twice": table([*ROW, 36], names=[*NAMES, "age"]),
    "a name spelt otherwise": table(ROW, names=["mass", "Age", "colour"]),
    "records of different names": {"jsonData": [RECORD, {"mass": 2.5}]},
    "an empty record": {"jsonData": {}},
    "rows too narrow": table(ROW[:2]),
    "rows too wide": table([*ROW, 1]),
    "ragged rows": table(ROW, ROW[:2]),
    "an empty row": table([]),
    "no rows": table(),
    "one row, given flat": table(*ROW),
    "rows nested one level too deep": table([[2.5], [36], ["red"]]),
    "too many rows": table(*[ROW] * (MAX_ROWS + 1)),
    "text for a number": table(put("mass", "2.5")),
    "a date for a number": table(put("age", "2026-01-31")),
    "a boolean for a number": table(put("age", True)),
    "an object for a number": table(put("age", {"years": "36"})),
    "null for a number that must be there": table(ROW, put("age", None)),
    "a number below its limit": table(put("mass", -0.1)),
    "a number above its limit": table(ROW, put("mass", 10.5)),
    "a number too large for float32": table(put("age", 1e39)),
    "NaN": table(put("mass", math.nan)),
    "Infinity": table(put("age", math.inf)),
    "a category that is unknown": table(put("colour", "blue")),
    "a category spelt otherwise": table(put("colour", "Red")),
    "a number for a category": table(put("colour", 1.5)),
    "a boolean for a category": table(put("colour", False)),
    "null for a category that must be there": table(put("colour", None)),
    "a tensor, where there are categories": tensor([1, 3], [2.5, 36.0, 1.0]),
    "a tensor of another shape than its values": tensor([2, 3], [2.5, 36.0, 1.0]),
    "a tensor without shape": tensor([], [2.5, 36.0, 1.0]),
    "strData": {"strData": "2.5,36,red"},
    "binData": {"binData": "aGVsbG8="},
    "an empty message": {},
    "data without rows": {"data": {"names": NAMES}},
    "jsonData that is no record": {"jsonData": [ROW]},
    "a puid of 201 characters": table(ROW) | {"meta": {"puid": "x" * 201}},
    "a valid row that the model fails on": table(put("age", FAILS)) | {"meta": {"puid": PUID}},
    "feedback with a reward": feedback(reward=1.0),
    "feedback with a reward of 0": feedback(reward=0.0),
    "feedback with the truth": feedback(truth={"data": {"ndarray": [[9.5]]}}),
    "feedback with neither, as Seldon's client sends a reward of 0": feedback(),
    "feedback whose reward is out of range": feedback(reward=1.5),
    "feedback whose reward is not finite": feedback(reward=math.inf),
    "feedback whose truth is no value": feedback(truth={"data": {"ndarray": [["much"]]}}),
    "feedback whose truth has no rows": feedback(truth={"data": {"ndarray": []}}),
    "feedback with more labels than predictions": {
        "response": {"meta": {"puid": PUID}, "data": {"ndarray": [[VALUE]]}},
        "truth": {"data": {"ndarray": [[9.5], [9.5]]}},
    },
}

# Method, path, body and headers; bytes alone are sent as they are.
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
HTTP = {
    "a form with the message as `json`, as Seldon's own client sends it": {
        "headers": FORM,
        "body": urlencode({"json": json.dumps(table(ROW))}),
    },
    "a form with another field": {"headers": FORM, "body": "json=%7B%7D&x=1"},
    "a tensor given as text": {"body": tensor([1, 1], ["1"])},
    "1e400": {"body": json.dumps(table(put("age", 36))).replace("36", "1e400")},
    "a whole number of 400 digits": {"body": table(put("age", 10**400))},
    "a whole number for a category": {"body": table(put("colour", 1))},
    "a name twice in one object": {"body": '{"jsonData": {"age": 1, "mass": 2, "age": 3}}'},
    "an empty body": {"body": b""},
    "a body cut off": {"body": '{"data": {"ndarray": [[1, 36, '},
    "bytes that are not UTF-8": {"body": b"\xff\xfe"},
    "JSON nested too deeply": {"body": b'{"data": ' + b"[" * 15_000},
    "a body that is a list": {"body": [ROW]},
    "rows that are text": {"body": {"data": {"ndarray": "2.5,36,red"}}},
    "names that are no text": {"body": table(ROW, names=[1, 2, 3])},
    "a puid that is no text": {"body": table(ROW) | {"meta": {"puid": 7}}},
    "the message in the address": {"path": "/predict?json={}", "body": table(ROW)},
    "another content type": {"headers": {"Content-Type": "text/plain"}},
    "a form with files": {"headers": {"Content-Type": "multipart/form-data; boundary=x"}},
    "no content type": {"headers": {}},
    "too large a body": {"body": b" " * (MAX_BODY + 1)},
    "too large a body, in chunks": {"body": iter([b" " * MAX_BODY, b"{}"])},
    "a body that stops coming": f"POST {PREDICT} HTTP/1.1\r\nContent-Type: application/json\r\n"
    "Content-Length: 100\r\n\r\n{".encode(),
    "another method": {"method": "GET"},
    "another method for a page": {"path": "/metadata"},
    "an unknown path": {"path": "/nope"},
    "what is no HTTP": b"HELO example.com\r\n\r\n",
    "a head that does not end": b"GET / HTTP/1.1\r\n" + b"X-Long: " + b"x" * 70_000,
    "feedback that is empty": {"path": FEEDBACK, "body": {}},
    "feedback whose reward is text": {"path": FEEDBACK, "body": feedback(reward="much")},
    "feedback with an unknown field": {"path": FEEDBACK, "body": feedback(score=1)},
    "feedback whose truth is no message": {"path": FEEDBACK, "body": feedback(truth=9.5)},
}

# A message with one value that says nothing: data.ndarray.values[0], field numbers 3, 3 and 1.
NO_KIND = bytes([0x1A, 4, 0x1A, 2, 0x0A, 0])
GRPC = {
    "bytes that are no message": {"raw": b"\x0a\xff"},
    "a value of no kind": {"raw": NO_KIND},
    "too large a message": {"raw": bytes(MAX_BODY + 1)},
    "an unknown method": {"raw": b"", "method": "Route"},
}


@pytest.fixture(scope="module")
def page() -> str:
    """The page that documents the server."""
    return resources.files("modelloop.docs").joinpath("server.md").read_text(encoding="utf-8")


def documented(page: str, title: str) -> dict[str, list[str]]:
    """The lines of a table in the page, by their first cell."""
    lines = page.split(f"### {title}\n")[1].split("\n#")[0].splitlines()
    cells = [[c.strip() for c in line[1:-1].split("|")] for line in lines if line[:1] == "|"]
    return {first: rest for first, *rest in cells[2:]}


@pytest.fixture(scope="module")
def over_both(page: str) -> dict[str, list[str]]:
    return documented(page, "Messages, over HTTP and gRPC")


@pytest.fixture(scope="module")
def http_alone(page: str) -> dict[str, list[str]]:
    return documented(page, "HTTP alone")


@pytest.fixture(scope="module")
def grpc_alone(page: str) -> dict[str, list[str]]:
    return documented(page, "gRPC alone")


STOPPING = "readiness of a server that stops"


@pytest.fixture(scope="module")
def server(
    project: Project, serve_python: str, example: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("server") / "log"
    limits = {"MAX_ROWS": MAX_ROWS, "MAX_BODY_BYTES": MAX_BODY}
    with running(project, serve_python, example, log, SERVE_GRPC=1, **limits) as server:
        yield server


@pytest.fixture(scope="module")
def grpc(serve_python: str, server: Server) -> Iterator[GrpcClient]:
    with GrpcClient(serve_python, server.grpc_port) as client:
        yield client


def test_the_page_and_the_tests_have_the_same_lines(over_both, http_alone, grpc_alone):
    assert list(over_both) == list(MESSAGES)
    assert [sent for sent in http_alone if sent != STOPPING] == list(HTTP)
    assert list(grpc_alone) == list(GRPC)


@pytest.mark.parametrize("sent", MESSAGES)
def test_a_message_over_http(server: Server, over_both: dict, sent: str):
    status, _, reason, message = over_both[sent]
    path = FEEDBACK if sent.startswith("feedback") else PREDICT
    answer = server.call("POST", path, json.dumps(MESSAGES[sent]))
    if status == "200":
        assert answer.status == 200, answer.text
        right(answer.json, sent)
    else:
        refused(answer, status, reason, message)


@pytest.mark.parametrize("sent", MESSAGES)
def test_a_message_over_grpc(grpc: GrpcClient, over_both: dict, sent: str):
    _, code, reason, message = over_both[sent]
    method = "SendFeedback" if sent.startswith("feedback") else "Predict"
    answer = grpc.call(method, MESSAGES[sent])
    if code == "OK":
        assert answer["code"] == "OK", answer
        right(answer["answer"], sent)
    else:
        assert (answer["code"], answer["details"]) == (code, f"{reason}: {message}")


def right(answer: dict, sent: str) -> None:
    if sent.startswith("feedback"):
        assert answer["meta"]["puid"] == PUID
        return
    assert {value for row in answer["data"]["ndarray"] for value in row} == {VALUE}
    assert answer["data"]["names"] == ["value"]
    assert answer["meta"]["tags"].pop("answered_at") == pytest.approx(time.time(), abs=60)
    assert answer["meta"]["tags"] == {"model_name": "answers", "model_version": "3"}


def refused(answer: Answer, status: str, reason: str, message: str) -> None:
    assert (str(answer.status), answer.json["status"]) == (
        status,
        {"code": int(status), "reason": reason, "info": message, "status": "FAILURE"},
    )
    tags = answer.json.get("meta", {}).get("tags", {})
    if message.startswith("row "):
        assert message.startswith(f"row {tags['row']}")
        assert "feature" not in tags or message.startswith(f"row {tags['row']}, {tags['feature']}:")


SLOW = {"a body that stops coming"}  # the server waits for the rest of it


@pytest.mark.parametrize(
    "sent", [pytest.param(sent, marks=[pytest.mark.slow] * (sent in SLOW)) for sent in HTTP]
)
def test_what_http_alone_can_get_wrong(server: Server, http_alone: dict, sent: str):
    request = HTTP[sent]
    if isinstance(request, bytes):
        answer = raw(server, request)
    else:
        body = request.get("body", table(ROW))
        if isinstance(body, dict | list):
            body = json.dumps(body)
        answer = server.call(
            request.get("method", "POST"),
            request.get("path", PREDICT),
            body,
            request.get("headers", JSON),
        )
    status, reason, message = http_alone[sent]
    if status == "200":
        assert answer.status == 200, answer.text
        right(answer.json, sent)
        return
    refused(answer, status, reason, message)
    if answer.status == 405:
        allowed = answer.headers["Allow"].replace(", ", " and ")
        assert message.endswith(f" takes {allowed}")


def raw(server: Server, request: bytes) -> Answer:
    """Send bytes, and read until the server closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(request)
        got = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = got.partition(b"\r\n\r\n")
    return Answer(int(head.split()[1]), http.client.HTTPMessage(), body.decode())


@pytest.mark.parametrize("sent", GRPC)
def test_what_grpc_alone_can_get_wrong(grpc: GrpcClient, grpc_alone: dict, sent: str):
    request = GRPC[sent]
    content = base64.b64encode(request["raw"]).decode()
    answer = grpc.call(request.get("method", "Predict"), raw=content)
    assert [answer["code"], answer["details"]] == grpc_alone[sent]


def test_readiness_ends_when_the_server_gets_a_signal(serve, example, http_alone):
    with serve(example) as server:
        connection = server.connect()
        status = 200
        while status == 200:
            connection.request("GET", "/health/status")
            answer = read(connection)
            if server.process.poll() is None and status == 200:
                server.process.terminate()
            status = answer.status
        refused(answer, *http_alone[STOPPING])
        assert answer.headers["Connection"] == "close"
        assert server.process.wait(STOPPED_WITHIN) == 0


def test_a_failing_model_is_called_once_for_a_request(server: Server):
    before = server.log.read_text().count("the model failed on the valid request")
    assert server.predict(table(put("age", FAILS))).reason == (500, "MODEL_FAILED")
    assert server.log.read_text().count("the model failed on the valid request") == before + 1


def test_the_request_keeps_its_id(server: Server, grpc: GrpcClient):
    own = table(ROW) | {"meta": {"puid": PUID}}
    beside = {"Seldon-Puid": "header-1"}
    assert server.predict(own, **beside).json["meta"]["puid"] == PUID
    assert server.predict(table(ROW), **beside).json["meta"]["puid"] == "header-1"
    assert grpc.call("Predict", own, puid="header-1")["answer"]["meta"]["puid"] == PUID
    assert grpc.call("Predict", table(ROW), puid="header-1")["answer"]["meta"]["puid"] == "header-1"
    new = {server.predict(table(ROW)).json["meta"]["puid"] for _ in range(2)}
    new |= {grpc.call("Predict", table(ROW))["answer"]["meta"]["puid"] for _ in range(2)}
    assert [len(puid) for puid in new] == [32] * 4


def test_only_the_failed_model_leaves_a_traceback(server: Server):
    for message in MESSAGES.values():
        for path in (PREDICT, FEEDBACK):
            server.call("POST", path, json.dumps(message))
    log = server.log.read_text()  # of this test and of all before it
    failures = log.count("FloatingPointError: the model answered")
    assert failures > 0
    assert log.count("Traceback") == failures
