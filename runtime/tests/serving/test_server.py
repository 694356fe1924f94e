"""The real server with this repository's model, over HTTP and gRPC: answers, start and end."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from modelloop import Project
from modelloop.contract import served_model
from modelloop.contract.contract import Column, Contract
from modelloop.testing.servers import (
    JSON,
    PREDICT,
    STOPPED_WITHIN,
    Answer,
    GrpcClient,
    Server,
    alive,
    command,
    free_ports,
    read,
    running,
    variables,
    wait_until,
    wait_until_ready,
)

ORIGIN = "https://example.com"


@pytest.fixture(scope="module")
def server(project, serve_python, model_dir, tmp_path_factory):
    log = tmp_path_factory.mktemp("server") / "log"
    with running(project, serve_python, model_dir, log, SERVE_WORKERS=2, SERVE_GRPC=1) as server:
        yield server


@pytest.fixture(scope="module")
def grpc(serve_python, server):
    with GrpcClient(serve_python, server.grpc_port) as client:
        yield client


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


def test_grpc_answers_what_http_answers(server, grpc, names, valid):
    message = {"data": {"names": names, "ndarray": valid}, "meta": {"puid": "p-1"}}
    answers = [
        grpc.call("Seldon/Predict", message)["answer"],
        grpc.call("Model/Predict", message)["answer"],
        server.predict(message).json,
    ]
    for answer in answers:
        answer["meta"]["tags"].pop("answered_at")
    assert answers[0] == answers[1] == answers[2]


def test_columns_are_matched_by_name(server, names, valid, expected):
    backwards = [row[::-1] for row in valid]
    assert agrees(server.predict({"data": {"names": names[::-1], "ndarray": backwards}}), expected)


def test_records_get_the_same_answer(server, names, valid, expected):
    records = [dict(zip(names, row, strict=True)) for row in valid]
    assert agrees(server.predict({"jsonData": records}), expected)


def test_one_connection_takes_many_requests(server, names, valid, expected):
    connection = server.connect()
    for i in range(20):
        row = i % len(valid)
        message = {"data": {"names": names, "ndarray": [valid[row]]}, "meta": {"puid": f"p{i}"}}
        connection.request("POST", PREDICT, json.dumps(message), JSON)
        answer = read(connection)
        assert answer.json["meta"]["puid"] == f"p{i}"
        assert agrees(answer, expected[row : row + 1])
    connection.close()


def test_health(server, contract):
    assert server.call("GET", "/health/ping").text == "pong"
    for path in ("/health/status", "/api/v1.0/health/status"):
        status = server.call("GET", path)
        assert status.status == 200
        assert status.json["jsonData"]["model_version"] == contract.version


def test_metadata_is_the_contract(server, contract, names):
    metadata = server.call("GET", "/metadata").json
    assert (metadata["name"], metadata["versions"]) == (contract.name, [contract.version])
    assert metadata["custom"]["problem_type"] == contract.problem_type
    assert Contract.model_validate_json(metadata["custom"]["contract"]) == contract
    assert metadata["inputs"][0]["schema"]["names"] == names
    assert metadata["outputs"][0]["schema"]["names"] == contract.output_names

    features = [i["schema"] for i in metadata["inputs"] if i["messagetype"] == "feature"]
    assert features == [described(column) for column in contract.features]
    (target,) = [o["schema"] for o in metadata["outputs"] if o["messagetype"] == "target"]
    assert target == {**described(contract.target), "classes": contract.classes}


@pytest.mark.parametrize("method", ["Seldon/ModelMetadata", "Model/Metadata"])
def test_metadata_over_grpc(server, grpc, method):
    over_http = server.call("GET", "/metadata").json
    assert grpc.call(method)["answer"] == over_http


def described(column: Column) -> dict:
    return json.loads(column.model_dump_json(exclude={"role", "reference"}))


def test_metrics_have_a_port_of_their_own(server, contract, names, valid):
    labels = f'model_name="{contract.name}",model_version="{contract.version}"'
    for path in ("/metrics", "/prometheus"):
        page = server.call("GET", path, port=server.metrics_port)
        assert page.headers["Content-Type"].startswith("text/plain; version=")
        assert "model_info{" + labels + "} 1.0" in page.text.splitlines()
    assert server.call("GET", "/metrics").status == 404
    body = json.dumps({"data": {"names": names, "ndarray": valid}})
    assert server.call("POST", PREDICT, body, port=server.metrics_port).status == 404


def test_seldons_own_client_is_answered(serve_python, server, names, valid, expected):
    done = subprocess.run(
        [serve_python, "-c", SELDON_CLIENT, str(server.port), str(server.grpc_port)],
        input=json.dumps([names, valid]),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    for answer in json.loads(done.stdout.splitlines()[-1]):
        assert not served_model.differs(np.array(answer), expected)


# As a user of Seldon would write it.
SELDON_CLIENT = """
import json, sys
import numpy as np
from google.protobuf.json_format import MessageToDict
from seldon_core.seldon_client import SeldonClient
names, rows = json.load(sys.stdin)
rest, grpc = sys.argv[1:]
answers = []
for transport, port in (("rest", rest), ("grpc", grpc)):
    client = SeldonClient(
        microservice_endpoint=f"127.0.0.1:{port}", transport=transport, call_credentials=None
    )
    data = np.array(rows, dtype=object)
    answer = client.microservice(
        method="predict", data=data, names=names, payload_type="ndarray"
    )
    assert answer.success, answer.msg
    answers.append(MessageToDict(answer.response)["data"]["ndarray"])
    assert client.microservice_feedback(
        prediction_request=answer.request, prediction_response=answer.response, reward=1.0
    ).success
print(json.dumps(answers))
"""


def test_scikit_learn_is_served_without_pandas(serve, sklearn_dir, names, valid, expected):
    with serve(sklearn_dir) as server:
        assert agrees(server.predict({"data": {"names": names, "ndarray": valid}}), expected)
        assert server.call("GET", "/metadata").json["platform"] == "skops"


@pytest.mark.slow
def test_a_head_that_stops_is_hung_up_on_and_a_quiet_connection_is_not(server):
    address = ("127.0.0.1", server.port)
    with (
        socket.create_connection(address, timeout=10) as quiet,
        socket.create_connection(address, timeout=10) as stopped,
    ):
        stopped.sendall(b"GET /health/ping HTTP/1.1\r\nHost:")
        assert stopped.recv(100) == b""
        quiet.sendall(b"GET /health/ping HTTP/1.1\r\nHost: x\r\n\r\n")
        assert quiet.recv(100).startswith(b"HTTP/1.1 200 ")


# Who may ask


def test_no_web_page_may_read_the_answers(server):
    for path in ("/metadata", "/nope"):
        answer = server.call("GET", path, headers={"Origin": ORIGIN})
        assert not allowing(answer)
    assert server.call("OPTIONS", PREDICT, headers={"Origin": ORIGIN}).status == 405


def test_web_pages_that_are_named_may_read_them(serve, model_dir, names, valid):
    origins = f"http://localhost:8501,{ORIGIN}"
    with serve(model_dir, CORS_ORIGINS=origins) as server:
        message = {"data": {"names": names, "ndarray": valid[:1]}}
        assert allowing(server.predict(message, Origin=ORIGIN)) == [ORIGIN]
        assert not allowing(server.predict(message, Origin="https://example.org"))
        preflight = server.call("OPTIONS", PREDICT, headers={"Origin": ORIGIN})
        assert (preflight.status, allowing(preflight)) == (200, [ORIGIN])
        assert preflight.headers["Access-Control-Allow-Methods"] == "POST"
        assert "content-type" in preflight.headers["Access-Control-Allow-Headers"]


def allowing(answer: Answer) -> list[str]:
    """Whose pages a browser would show the answer."""
    return answer.headers.get_all("Access-Control-Allow-Origin", [])


def test_only_this_machine_can_connect(server):
    for port in (server.port, server.metrics_port, server.grpc_port):
        with pytest.raises(OSError, match=r"refused|assign|timed out"):
            # Reaches a server that listens on all interfaces, not one on 127.0.0.1.
            socket.create_connection(("127.0.0.2", port), timeout=1)


# Start and end


@pytest.fixture
def failed_start(project: Project, serve_python: str) -> Callable[..., str]:
    """Start a server that must not start: returns the one line of its output."""

    def start(model_dir: Path, **settings: object) -> str:
        done = subprocess.run(
            command(project, serve_python),
            env=variables(model_dir, **free_ports() | settings),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode not in (0, None)
        (line,) = done.stderr.splitlines()
        return line

    return start


def test_a_missing_model_is_not_served(failed_start, tmp_path):
    line = failed_start(tmp_path / "nowhere")
    assert str(tmp_path / "nowhere" / "contract.json") in line


def test_a_broken_model_is_not_served(failed_start, model_dir, contract, tmp_path):
    folder = shutil.copytree(model_dir, tmp_path / "model")
    (folder / contract.served.file).write_bytes(b"not a model")
    assert contract.served.file in failed_start(folder)


def test_other_weights_are_not_served(failed_start, model_dir, contract, tmp_path):
    assert contract.served.form == "onnx"
    import onnx

    model = onnx.load(model_dir / contract.served.file)
    for node in model.graph.node:
        for attribute in node.attribute:
            attribute.floats[:] = [2 * value for value in attribute.floats]
    folder = shutil.copytree(model_dir, tmp_path / "model")
    onnx.save(model, folder / contract.served.file)
    assert "golden row 0 " in failed_start(folder)


def test_another_golden_row_is_not_served(failed_start, model_dir, contract, tmp_path):
    last = len(contract.golden) - 1
    row = contract.golden[last]
    other = row.model_copy(update={"outputs": [1.01 * value + 0.01 for value in row.outputs]})
    folder = shutil.copytree(model_dir, tmp_path / "model")
    contract.model_copy(update={"golden": [*contract.golden[:last], other]}).write(folder)
    assert f"golden row {last} " in failed_start(folder)


@pytest.mark.parametrize("name", ["SERVE_PORT", "METRICS_PORT", "GRPC_PORT"])
def test_a_port_in_use_is_named(failed_start, model_dir, server, name):
    for taken in (server.port, server.grpc_port):
        settings = {"SERVE_GRPC": 1, name: taken}
        line = failed_start(model_dir, **settings)
        assert f"cannot listen on 127.0.0.1:{taken}: Address already in use" in line
        assert name in line


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("settings", [{}, {"SERVE_GRPC": 1, "SERVE_THREADS": 2}], ids=str)
def test_a_signal_ends_all_of_it(serve, serve_python, model_dir, names, valid, stop, settings):
    with serve(model_dir, SERVE_WORKERS=2, **settings) as server:
        message = {"data": {"names": names, "ndarray": valid}}
        idle = server.connect()
        idle.request("POST", PREDICT, json.dumps(message), JSON)
        assert read(idle).status == 200
        with GrpcClient(serve_python, server.grpc_port) as grpc:
            if settings:
                assert grpc.call("Predict", message)["code"] == "OK"
            server.process.send_signal(stop)
            assert server.process.wait(STOPPED_WITHIN) == 0
        assert not alive(server.process.pid)
        for port in (server.port, server.metrics_port, server.grpc_port):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port))
        assert len(server.log.read_text().splitlines()) == 1, "says more than its start"


def test_a_request_in_flight_is_answered_before_the_end(serve, model_dir, names, valid, expected):
    body = json.dumps({"data": {"names": names, "ndarray": valid}}).encode()
    with serve(model_dir) as server:
        connection = server.connect()
        connection.putrequest("POST", PREDICT)
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body[:10])
        server.call("GET", "/health/ping")  # answered, so the earlier connection is in work

        server.process.terminate()
        wait_until(lambda: not takes_requests(server), "no new request is taken", STOPPED_WITHIN)
        connection.send(body[10:])

        answer = read(connection)
        assert agrees(answer, expected)
        assert answer.headers["Connection"] == "close"
        assert server.process.wait(STOPPED_WITHIN) == 0


@pytest.mark.slow
def test_a_call_in_flight_over_grpc_is_answered_before_the_end(
    serve, serve_python, model_dir, names, valid
):
    # Many values take seconds: seldon-core's messages are read in plain Python.
    rows = valid * (60_000 // (len(valid) * len(names)))
    with (
        serve(model_dir, SERVE_GRPC=1) as server,
        GrpcClient(serve_python, server.grpc_port) as grpc,
    ):
        assert grpc.call("Model/Metadata")["code"] == "OK"  # connected
        grpc.send("Predict", {"data": {"names": names, "ndarray": rows}})
        wait_until(lambda: busy(server), "the worker computes")
        server.process.terminate()
        answer = grpc.receive()
        assert (answer["code"], len(answer["answer"]["data"]["ndarray"])) == ("OK", len(rows))
        assert server.process.wait(STOPPED_WITHIN) == 0


def busy(server: Server) -> bool:
    """Whether the worker computes: a ping is not answered at once."""
    try:
        server.call("GET", "/health/ping", timeout=0.2)
    except TimeoutError:
        return True
    return False


def test_a_worker_that_dies_is_replaced(serve, serve_python, model_dir, names, valid, expected):
    message = {"data": {"names": names, "ndarray": valid}}
    with (
        serve(model_dir, SERVE_GRPC=1) as server,
        GrpcClient(serve_python, server.grpc_port) as grpc,
    ):
        (worker,) = server.workers
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: server.workers not in ([worker], []), "there is another worker")
        wait_until_ready(server.process, server.port)
        assert agrees(server.predict(message), expected)
        assert grpc.call("Predict", message)["code"] == "OK"


def test_the_workers_end_with_their_master(serve, model_dir):
    with serve(model_dir, SERVE_WORKERS=2) as server:
        server.process.kill()
        server.process.wait()
        wait_until(lambda: not alive(server.process.pid), "the workers have ended")


def takes_requests(server: Server) -> bool:
    try:
        server.call("GET", "/health/ping", timeout=0.5)
    except (OSError, http.client.HTTPException):
        return False
    return True
