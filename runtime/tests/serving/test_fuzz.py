"""Broken requests are answered, refused or cut off, and the server stays as it was."""

import base64
import json
import random
import re
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelloop.testing.example_model import FAILS, NAMES, ROW, VALUE
from modelloop.testing.servers import (
    FEEDBACK,
    JSON,
    PREDICT,
    GrpcClient,
    Server,
    read,
    running,
    wait_until,
)

HTTP_REQUESTS = 10_000
GRPC_REQUESTS = 1_000
EXAMPLES = 1_000
HANGS = 10.0  # seconds without an answer
GROWTH = 5_000  # kilobytes of a process: about one a request; two thousand are usual, and settle


@pytest.fixture(scope="module")
def server(project, serve_python, example, tmp_path_factory):
    log = tmp_path_factory.mktemp("server") / "log"
    with running(project, serve_python, example, log, SERVE_WORKERS=2, SERVE_GRPC=1) as server:
        wait_until(lambda: len(server.workers) == 2, "both workers are there")
        yield server


# Whatever JSON can say


def valid(name: str, value: object) -> bool:
    """Whether the example's contract allows a value, in the plainest words."""
    if name == "colour":
        return value in ("red", "green")
    if value is None:
        return name == "mass"
    if type(value) not in (int, float) or not -3.4e38 < value < 3.4e38:
        return False
    return name == "age" or 0 <= value <= 10


TEXT = st.text(max_size=5)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)
PATHS = [PREDICT, FEEDBACK]
FIELDS = ["data", "jsonData", "strData", "binData", "meta", "reward", "truth", "response"]
VALUES = {
    "mass": st.none() | st.floats(0, 10) | st.integers(0, 10),
    "age": st.floats(-1e6, 99) | st.integers(101, 10**6),
    "colour": st.sampled_from(["red", "green"]),
}


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[object]]]:
    """Names in some order, and rows in which a value here and there is anything."""
    names = draw(st.permutations(NAMES))
    odd = st.integers(0, 9).flatmap(lambda n: st.just(n == 0))
    row = st.tuples(*(odd.flatmap(lambda o, n=n: ANYTHING if o else VALUES[n]) for n in names))
    return names, [list(values) for values in draw(st.lists(row, min_size=1, max_size=3))]


@pytest.fixture(scope="module")
def connection(server: Server):
    connection = server.connect()
    yield connection
    connection.close()


@pytest.mark.slow
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True)
@given(table=tables())
def test_a_table_is_answered_right_or_refused_where_it_is_wrong(connection, table):
    names, rows = table
    faults = {
        (i, name)
        for i, row in enumerate(rows)
        for name, value in zip(names, row, strict=True)
        if not valid(name, value)
    }
    ages = [row[names.index("age")] for row in rows]
    if not faults and np.float32(FAILS) in np.float32(ages):
        return
    message = {"data": {"names": names, "ndarray": rows}}
    connection.request("POST", PREDICT, json.dumps(message), JSON)
    answer = read(connection)
    if faults:
        assert answer.status == 422, answer.text
        tags = answer.json["meta"]["tags"]
        assert (tags["row"], tags["feature"]) in faults
    else:
        assert answer.status == 200, answer.text
        found = [value for (value,) in answer.json["data"]["ndarray"]]
        expected = 640 / (FAILS - np.array(ages, dtype=np.float32))
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.slow
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True)
@given(body=st.dictionaries(st.sampled_from(FIELDS), ANYTHING), path=st.sampled_from(PATHS))
def test_any_object_is_answered_or_refused(connection, body, path):
    connection.request("POST", path, json.dumps(body), JSON)
    answer = read(connection)
    assert answer.status in (200, 400, 415, 422), answer.text


# Whatever bytes can say


RECORD = dict(zip(NAMES, ROW, strict=True))
SENT = [
    (PREDICT, {"data": {"names": NAMES, "ndarray": [ROW, ROW]}, "meta": {"puid": "p"}}),
    (PREDICT, {"data": {"tensor": {"shape": [1, 3], "values": [1, 2, 3]}}}),
    (PREDICT, {"jsonData": [RECORD]}),
    (FEEDBACK, {"response": {"meta": {"puid": "p"}}, "reward": 0.5}),
]


def requests(rng: random.Random) -> Iterator[bytes]:
    """Requests as a client sends them, with bytes changed, added, lost, doubled and cut off.

    In every second one only the body is broken, so that it gets past the reader of HTTP.
    """
    while True:
        path, message = rng.choice(SENT)
        body = json.dumps(message).encode()
        yield whole(path, mutated(body, rng))
        chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        get = b"GET /metadata HTTP/1.1\r\nHost: x\r\n\r\n"
        sound = [whole(path, body), whole(path, chunks, "Transfer-Encoding: chunked"), get]
        yield mutated(rng.choice(sound), rng)


def whole(path: str, body: bytes, length: str = "") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    length = length or f"Content-Length: {len(body)}"
    return f"{head}{length}\r\n\r\n".encode() + body


def mutated(sound: bytes, rng: random.Random) -> bytes:
    content = bytearray(sound)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(content) + 1)
        length = rng.choice([1, 1, 1, 2, 8, 40])
        part = content[at : at + length]
        match rng.randrange(5):
            case 0:
                content[at : at + length] = rng.randbytes(len(part))
            case 1:
                content[at:at] = rng.choice([rng.randbytes(length), b"9" * length, b"[" * length])
            case 2:
                del content[at : at + length]
            case 3:
                content[at:at] = part * rng.randint(1, 5)
            case 4:
                del content[at:]
    return bytes(content)


def ask(server: Server, request: bytes) -> bytes:
    """Send bytes and read the whole response; where the server waits for more, end the input."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=HANGS) as connection:
        got = b""
        try:
            connection.sendall(request)
            connection.settimeout(0.1)
            while part := connection.recv(65536):
                got += part
        except TimeoutError:
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(HANGS)
            while part := connection.recv(65536):
                got += part
        except ConnectionError:  # it closed the connection, with or without a response
            pass
        return got


@pytest.mark.slow
def test_ten_thousand_broken_requests_change_nothing(server):
    workers, rng = server.workers, random.Random(20)
    broken = requests(rng)
    with ThreadPoolExecutor(32) as clients:
        sent = [next(broken) for _ in range(HTTP_REQUESTS)]
        answers = list(clients.map(lambda request: ask(server, request), sent[:1000]))
        before = memory(workers)
        answers += clients.map(lambda request: ask(server, request), sent[1000:])
    for request, answer in zip(sent, answers, strict=True):
        statuses = [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]
        assert bool(statuses) == bool(answer)
        assert all(status < 500 for status in statuses), (request, answer)
    assert sum(bool(answer) for answer in answers) > HTTP_REQUESTS / 2
    unchanged(server, workers, before)


def test_broken_messages_over_grpc_change_nothing(server, serve_python):
    workers, rng = server.workers, random.Random(21)
    with GrpcClient(serve_python, server.grpc_port) as grpc:
        sound = grpc.pack({"data": {"names": NAMES, "ndarray": [ROW]}, "meta": {"puid": "p"}})
        for i in range(GRPC_REQUESTS):
            if i == GRPC_REQUESTS // 10:
                before = memory(workers)
            raw = base64.b64encode(mutated(sound, rng)).decode()
            answer = grpc.call(rng.choice(["Predict", "SendFeedback"]), raw=raw)
            assert answer["code"] in ("OK", "INVALID_ARGUMENT"), (raw, answer)
    unchanged(server, workers, before)


def memory(processes: list[int]) -> list[int]:
    """Resident memory of each process, kilobytes."""
    found = [subprocess.check_output(["ps", "-o", "rss=", "-p", str(p)]) for p in processes]
    return [int(size) for size in found]


def unchanged(server: Server, workers: list[int], before: list[int]) -> None:
    assert server.workers == workers
    assert all(now - then < GROWTH for then, now in zip(before, memory(workers), strict=True))
    assert "Traceback" not in server.log.read_text()
    answer = server.predict({"data": {"names": NAMES, "ndarray": [ROW]}})
    assert answer.json["data"]["ndarray"] == [[VALUE]]
