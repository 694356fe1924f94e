"""The real server, in the serving environment, over HTTP."""

import http.client
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from {{ cookiecutter.package_name }} import client, served_model
from {{ cookiecutter.package_name }}.contract import Column, Contract

pytestmark = pytest.mark.slow

PACKAGE = served_model.__package__
SOURCES = Path(served_model.__file__).parents[1]
PREDICT = "/api/v1.0/predictions"
FEEDBACK = "/api/v1.0/feedback"
JSON = {"Content-Type": "application/json"}
MAX_ROWS = 20
MAX_BODY = 20_000
STOPPED_WITHIN = 5.0  # seconds; two are usual


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    text: str

    @property
    def json(self) -> dict:
        return json.loads(self.text)

    @property
    def reason(self) -> tuple[int, str]:
        """The HTTP status and the reason; the body repeats the status."""
        assert self.json["status"]["code"] == self.status
        return self.status, self.json["status"]["reason"]


@dataclass(frozen=True)
class Server:
    process: subprocess.Popen
    port: int
    metrics_port: int
    log: Path

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: dict[str, str] = JSON,
        port: int | None = None,
        timeout: float = 10.0,
        **options: object,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=timeout)
        try:
            connection.request(method, path, body, headers, **options)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read().decode())
        finally:
            connection.close()

    def predict(self, message: object) -> Answer:
        return self.call("POST", PREDICT, json.dumps(message))


def variables(model_dir: Path, **settings: object) -> dict[str, str]:
    fixed = {"PYTHONPATH": SOURCES, "MODEL_DIR": model_dir, "SERVE_HOST": "127.0.0.1"}
    return {**os.environ, **{name: str(value) for name, value in (fixed | settings).items()}}


def free_ports() -> tuple[int, int]:
    with socket.create_server(("127.0.0.1", 0)) as a, socket.create_server(("127.0.0.1", 0)) as b:
        return a.getsockname()[1], b.getsockname()[1]


@contextmanager
def running(python: str, model_dir: Path, log: Path, **settings: object) -> Iterator[Server]:
    port, metrics_port = free_ports()
    env = variables(model_dir, SERVE_PORT=port, METRICS_PORT=metrics_port, **settings)
    with log.open("w") as output:
        process = subprocess.Popen(
            [python, "-m", PACKAGE, "serve"],
            env=env,
            stdout=output,
            stderr=output,
            start_new_session=True,  # so that its process group is all that it started
        )
    try:
        client.wait_until_ready(f"http://127.0.0.1:{port}", process)
        yield Server(process, port, metrics_port, log)
    finally:
        if alive(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def alive(group: int) -> bool:
    """Whether any process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def failed_start(python: str, model_dir: Path, **settings: object) -> str:
    """Start a server that must not start; returns the one line that it says."""
    port, metrics_port = free_ports()
    env = variables(model_dir, **{"SERVE_PORT": port, "METRICS_PORT": metrics_port} | settings)
    done = subprocess.run(
        [python, "-m", PACKAGE, "serve"], env=env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode not in (0, None)
    (line,) = done.stderr.splitlines()
    return line


@pytest.fixture(scope="module")
def server(serve_python, model_dir, tmp_path_factory):
    log = tmp_path_factory.mktemp("server") / "log"
    limits = {"MAX_ROWS": MAX_ROWS, "MAX_BODY_BYTES": MAX_BODY}
    with running(serve_python, model_dir, log, SERVE_WORKERS=2, **limits) as server:
        yield server


@pytest.fixture(scope="module")
def valid(contract, names):
    """The golden rows as a request has them."""
    return [[row.inputs[name] for name in names] for row in contract.golden[:MAX_ROWS]]


@pytest.fixture(scope="module")
def expected(model_dir, contract):
    """What the model answers for them in this environment, without a server."""
    rows = [row.inputs for row in contract.golden[:MAX_ROWS]]
    return served_model.load(model_dir, contract)(served_model.to_table(contract.features, rows))


def agrees(answer: Answer, expected: np.ndarray) -> bool:
    assert answer.status == 200, answer.text
    return not served_model.differs(np.array(answer.json["data"]["ndarray"]), expected)


# Answers


def test_predictions_equal_the_offline_model(server, contract, names, valid, expected):
    answer = server.predict({"data": {"names": names, "ndarray": valid}})
    assert agrees(answer, expected)
    assert answer.json["data"]["names"] == contract.output_names
    tags = answer.json["meta"]["tags"]
    assert (tags["model_name"], tags["model_version"]) == (contract.name, contract.version)
    if contract.classes:
        assert tags["prediction"] == [contract.classes[i] for i in expected.argmax(axis=1)]
    else:
        assert "prediction" not in tags


def test_columns_are_matched_by_name(server, names, valid, expected):
    backwards = [row[::-1] for row in valid]
    assert agrees(server.predict({"data": {"names": names[::-1], "ndarray": backwards}}), expected)


def test_records_get_the_same_answer(server, names, valid, expected):
    records = [dict(zip(names, row, strict=True)) for row in valid]
    assert agrees(server.predict({"jsonData": records}), expected)


def test_a_tensor_serves_models_without_categories(server, contract, names, valid, expected):
    numbers = [[v if isinstance(v, int | float) else 0 for v in row] for row in valid]
    values = [value for row in numbers for value in row]
    tensor = {"shape": [len(valid), len(names)], "values": values}
    answer = server.predict({"data": {"names": names, "tensor": tensor}})
    if any(column.kind == "category" for column in contract.features):
        assert answer.reason == (422, "NOT_TEXT")
    elif numbers == valid:
        assert agrees(answer, expected)


def test_one_connection_takes_many_requests(server, names, valid, expected):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    for i in range(20):
        row = i % len(valid)
        message = {"data": {"names": names, "ndarray": [valid[row]]}, "meta": {"puid": f"p{i}"}}
        connection.request("POST", PREDICT, json.dumps(message), JSON)
        answer = json.loads(connection.getresponse().read())
        assert answer["meta"]["puid"] == f"p{i}"
        assert not served_model.differs(
            np.array(answer["data"]["ndarray"]), expected[row : row + 1]
        )
    connection.close()


def test_health(server, contract):
    assert server.call("GET", "/health/ping").text == "pong"
    status = server.call("GET", "/health/status")
    assert status.status == 200
    assert status.json["jsonData"]["model_version"] == contract.version


def test_metadata_is_the_contract(server, contract, names):
    metadata = server.call("GET", "/metadata").json
    assert (metadata["name"], metadata["versions"]) == (contract.name, [contract.version])
    assert metadata["custom"]["problem_type"] == contract.problem_type
    assert metadata["inputs"][0]["schema"]["names"] == names
    assert metadata["outputs"][0]["schema"]["names"] == contract.output_names

    features = [i["schema"] for i in metadata["inputs"] if i["messagetype"] == "feature"]
    assert features == [described(column) for column in contract.features]
    (target,) = [o["schema"] for o in metadata["outputs"] if o["messagetype"] == "target"]
    assert target == {**described(contract.target), "classes": contract.classes}


def described(column: Column) -> dict:
    return json.loads(column.model_dump_json(exclude={"role", "reference"}))


def test_feedback_is_taken(server, names, valid):
    feedback = {
        "request": {"data": {"names": names, "ndarray": valid[:1]}},
        "response": {"meta": {"puid": "p-1"}},
        "reward": 1,
        "truth": {"data": {"ndarray": ["x"]}},
    }
    answer = server.call("POST", FEEDBACK, json.dumps(feedback))
    assert (answer.status, answer.json["meta"]["puid"]) == (200, "p-1")


def test_metrics_have_a_port_of_their_own(server, names, valid):
    assert server.call("GET", "/metrics", port=server.metrics_port).status == 200
    assert server.call("GET", "/metrics").status == 404
    body = json.dumps({"data": {"names": names, "ndarray": valid}})
    assert server.call("POST", PREDICT, body, port=server.metrics_port).status in (404, 405)


# Refusals


def of_kind(kind: str, value: object, **like: object) -> Callable:
    """A request where the first feature of this kind has this value, and that feature."""

    def build(contract: Contract, names: list[str], valid: list[list]) -> tuple[dict, Column]:
        for column in contract.features:
            if column.kind == kind and all(getattr(column, k) == v for k, v in like.items()):
                row = list(valid[1])
                row[names.index(column.name)] = value
                return {"data": {"names": names, "ndarray": [valid[0], row]}}, column
        pytest.skip(f"the model has no feature of kind {kind} with {like}")

    return build


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (of_kind("number", "3.1"), "NOT_A_NUMBER"),
        (of_kind("number", True), "NOT_A_NUMBER"),
        (of_kind("number", math.nan), "NOT_FINITE"),
        (of_kind("number", math.inf), "NOT_FINITE"),
        (of_kind("number", 10**400), "OUT_OF_RANGE"),
        (of_kind("number", 1e39), "OUT_OF_RANGE"),
        (of_kind("number", None, nullable=False), "MISSING_VALUE"),
        (of_kind("category", 1), "NOT_TEXT"),
        (of_kind("category", "surprise"), "UNKNOWN_CATEGORY"),
        (of_kind("category", None, nullable=False), "MISSING_VALUE"),
    ],
)
def test_a_bad_value_is_refused_with_row_and_feature(server, contract, names, valid, build, reason):
    message, feature = build(contract, names, valid)
    answer = server.predict(message)
    assert answer.reason == (422, reason)
    assert answer.json["meta"]["tags"] == {"row": 1, "feature": feature.name}
    assert f"row 1, {feature.name}: " in answer.json["status"]["info"]


def test_a_literal_too_large_for_any_float_is_refused(server, contract, names, valid):
    message, feature = of_kind("number", "LITERAL")(contract, names, valid)
    answer = server.call("POST", PREDICT, json.dumps(message).replace('"LITERAL"', "1e400"))
    assert answer.reason == (422, "NOT_FINITE")
    assert answer.json["meta"]["tags"]["feature"] == feature.name


@pytest.mark.parametrize("side", ["minimum", "maximum"])
def test_a_number_outside_its_limits_is_refused(server, contract, names, valid, side):
    for column in contract.features:
        limit = getattr(column, side)
        if limit is not None:
            row = list(valid[0])
            row[names.index(column.name)] = limit + (1 if side == "maximum" else -1)
            answer = server.predict({"data": {"names": names, "ndarray": [row]}})
            assert answer.reason == (422, "OUT_OF_RANGE")
            assert answer.json["meta"]["tags"]["feature"] == column.name
            assert f"{limit:.15g}" in answer.json["status"]["info"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda names, rows: {"names": names[1:], "ndarray": rows}, (422, "WRONG_NAMES")),
        (lambda names, rows: {"names": ["x", *names[1:]], "ndarray": rows}, (422, "WRONG_NAMES")),
        (lambda names, rows: {"ndarray": [row[1:] for row in rows]}, (422, "WRONG_WIDTH")),
        (lambda names, rows: {"ndarray": rows[0]}, (422, "NOT_A_TABLE")),
        (lambda names, rows: {"ndarray": []}, (422, "NO_ROWS")),
        (lambda names, rows: {"ndarray": rows[:1] * (MAX_ROWS + 1)}, (413, "TOO_MANY_ROWS")),
        (lambda names, rows: {"ndarray": "text"}, (400, "BAD_PAYLOAD")),
        (lambda names, rows: {}, (415, "UNSUPPORTED_PAYLOAD")),
    ],
)
def test_a_bad_table_is_refused(server, names, valid, change, expected):
    assert server.predict({"data": change(names, valid)}).reason == expected


@pytest.mark.parametrize("path", [PREDICT, "/predict", FEEDBACK, "/send-feedback"])
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "BAD_JSON"),
        (b"{", "BAD_JSON"),
        (b'{"data": {"ndarray": [[1, 2', "BAD_JSON"),
        (b'{"data": {"ndarray": [["\xff\xfe"]]}}', "BAD_JSON"),
        (b"[" * 10_000, "BAD_JSON"),
        (b"9" * 10_000, "BAD_JSON"),
        (b"null", "BAD_PAYLOAD"),
        (b"[]", "BAD_PAYLOAD"),
        (b'"text"', "BAD_PAYLOAD"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(server, path, body, reason):
    assert server.call("POST", path, body).reason == (400, reason)


def test_a_broken_transfer_is_refused(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(
            f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            "Transfer-Encoding: chunked\r\n\r\nno number\r\n".encode()
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("path", [PREDICT, FEEDBACK])
@pytest.mark.parametrize(
    "kind",
    [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"],
)
def test_another_content_type_is_refused(server, path, kind):
    headers = {"Content-Type": kind} if kind else {}
    answer = server.call("POST", path, b"json={}", headers)
    assert answer.reason == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize(
    "feedback", [{"x": 1}, {"reward": "much"}, {"request": 5}, {"truth": {"data": {"ndarray": 1}}}]
)
def test_malformed_feedback_is_refused(server, feedback):
    assert server.call("POST", FEEDBACK, json.dumps(feedback)).reason == (400, "BAD_PAYLOAD")


def test_deeply_nested_feedback_is_refused(server):
    body = b'{"truth": {"jsonData": ' + b"[" * 900 + b"]" * 900 + b"}}"
    assert server.call("POST", FEEDBACK, body).reason == (400, "BAD_JSON")


def test_a_message_in_the_address_is_refused(server):
    assert server.call("GET", "/predict?json={}").reason == (405, "METHOD_NOT_ALLOWED")
    assert server.call("POST", "/predict?json={", "{}").reason == (400, "BAD_PAYLOAD")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_refused_with_it(server, chunked):
    body = b'{"data": ' + b" " * MAX_BODY
    sent = iter([body]) if chunked else body
    answer = server.call("POST", PREDICT, sent, encode_chunked=chunked)
    assert answer.reason == (413, "REQUEST_ENTITY_TOO_LARGE")
    assert str(MAX_BODY) in answer.json["status"]["info"]


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("path", ["/", "/nope", "/aggregate", "/transform-input", "/seldon.json"])
def test_an_unknown_path_is_not_found(server, method, path):
    assert server.call(method, path, "{}").reason == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", PREDICT, "POST"), ("DELETE", "/predict", "POST"), ("POST", "/metadata", "GET")],
)
def test_another_method_is_refused_with_the_right_one(server, method, path, allowed):
    answer = server.call(method, path)
    assert answer.reason == (405, "METHOD_NOT_ALLOWED")
    assert allowed in answer.headers["Allow"]


def test_no_web_page_may_read_the_answers(server):
    for path in ("/metadata", "/nope"):
        headers = server.call("GET", path, headers={"Origin": "https://example.com"}).headers
        assert not [name for name in headers if name.lower().startswith("access-control-")]


def test_only_this_machine_can_connect(server):
    for port in (server.port, server.metrics_port):
        with pytest.raises(OSError, match=r"refused|assign|timed out"):
            # Reaches a server that listens on all interfaces, not one on 127.0.0.1.
            socket.create_connection(("127.0.0.2", port), timeout=1)


def test_refusals_leave_no_traceback(server):
    assert "Traceback" not in server.log.read_text()


# Start and end


def test_a_missing_model_is_not_served(serve_python, tmp_path):
    line = failed_start(serve_python, tmp_path / "nowhere")
    assert str(tmp_path / "nowhere" / "contract.json") in line


def test_a_broken_model_is_not_served(serve_python, model_dir, contract, tmp_path):
    folder = shutil.copytree(model_dir, tmp_path / "model")
    (folder / contract.served.file).write_bytes(b"not a model")
    assert contract.served.file in failed_start(serve_python, folder)


def test_other_weights_are_not_served(serve_python, model_dir, contract, tmp_path):
    if contract.served.form != "onnx":
        pytest.skip("changes the weights of an ONNX file")
    import onnx

    model = onnx.load(model_dir / contract.served.file)
    for node in model.graph.node:
        for attribute in node.attribute:
            attribute.floats[:] = [2 * value for value in attribute.floats]
    folder = shutil.copytree(model_dir, tmp_path / "model")
    onnx.save(model, folder / contract.served.file)
    assert "golden row 0 " in failed_start(serve_python, folder)


def test_another_golden_row_is_not_served(serve_python, model_dir, contract, tmp_path):
    last = len(contract.golden) - 1
    row = contract.golden[last]
    other = row.model_copy(update={"outputs": [1.01 * value + 0.01 for value in row.outputs]})
    folder = shutil.copytree(model_dir, tmp_path / "model")
    contract.model_copy(update={"golden": [*contract.golden[:last], other]}).write(folder)
    assert f"golden row {last} " in failed_start(serve_python, folder)


def test_a_port_in_use_is_named(serve_python, model_dir, server):
    line = failed_start(serve_python, model_dir, SERVE_PORT=server.port)
    assert f"cannot listen on http://127.0.0.1:{server.port}" in line


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_of_it(serve_python, model_dir, tmp_path, stop):
    with running(serve_python, model_dir, tmp_path / "log", SERVE_WORKERS=2) as server:
        idle = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        idle.request("GET", "/health/ping")
        idle.getresponse().read()

        server.process.send_signal(stop)

        assert server.process.wait(STOPPED_WITHIN) == 0
        assert not alive(server.process.pid)
        for port in (server.port, server.metrics_port):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port))
        assert len(server.log.read_text().splitlines()) == 1, "says more than its start"


def test_a_request_in_flight_is_answered_before_the_end(
    serve_python, model_dir, names, valid, expected, tmp_path
):
    body = json.dumps({"data": {"names": names, "ndarray": valid}}).encode()
    with running(serve_python, model_dir, tmp_path / "log") as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.putrequest("POST", PREDICT)
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body[:10])
        server.call("GET", "/health/ping")  # answered, so the earlier connection is in work

        server.process.send_signal(signal.SIGTERM)
        wait_until_no_new_request_is_taken(server)
        connection.send(body[10:])

        response = connection.getresponse()
        answer = Answer(response.status, response.headers, response.read().decode())
        assert agrees(answer, expected)
        assert server.process.wait(STOPPED_WITHIN) == 0


def wait_until_no_new_request_is_taken(server: Server) -> None:
    end = time.monotonic() + STOPPED_WITHIN
    while time.monotonic() < end:
        try:
            server.call("GET", "/health/ping", timeout=0.5)
        except OSError:
            return
    pytest.fail("the server still takes requests after SIGTERM")
