"""Model servers that tests start: the real one, in the serving environment, on free ports."""

import base64
import http.client
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from {{ cookiecutter.package_name }} import children, client, served_model

PACKAGE = served_model.__package__
SOURCES = Path(served_model.__file__).parents[1]
PREDICT = client.PREDICT
FEEDBACK = "/api/v1.0/feedback"
STOPPED_WITHIN = 5.0  # seconds; two are promised, of a machine that has not two test runs to do
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Answer:
    """What came back over HTTP."""

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
    """A running server."""

    process: subprocess.Popen
    port: int
    metrics_port: int
    grpc_port: int
    log: Path

    def connect(self, timeout: float = 10.0) -> http.client.HTTPConnection:
        """A connection that takes one request after the other."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

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
        """Send one request over a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=timeout)
        try:
            connection.request(method, path, body, headers, **options)
            return read(connection)
        finally:
            connection.close()

    def predict(self, message: object, **headers: str) -> Answer:
        """Ask for a prediction."""
        return self.call("POST", PREDICT, json.dumps(message), JSON | headers)

    @property
    def workers(self) -> list[int]:
        """The process ids of the workers, in the order of their birth."""
        found = subprocess.run(
            ["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True
        )
        return sorted(map(int, found.stdout.split()))


def read(connection: http.client.HTTPConnection) -> Answer:
    """The answer to the request that was sent over a connection."""
    response = connection.getresponse()
    return Answer(response.status, response.headers, response.read().decode())


def variables(model_dir: Path, **settings: object) -> dict[str, str]:
    """The environment of a server."""
    fixed = {"PYTHONPATH": SOURCES, "MODEL_DIR": model_dir, "SERVE_HOST": "127.0.0.1"}
    return {**os.environ, **{name: str(value) for name, value in (fixed | settings).items()}}


def free_ports() -> dict[str, int]:
    """Ports for one server."""
    names = ("SERVE_PORT", "METRICS_PORT", "GRPC_PORT")
    return dict(zip(names, children.free_ports(len(names)), strict=True))


@contextmanager
def running(python: str, model_dir: Path, log: Path, **settings: object) -> Iterator[Server]:
    """A server that is ready; whatever is left of it in the end is killed."""
    ports = free_ports()
    with log.open("w") as output:
        process = subprocess.Popen(
            [python, "-m", PACKAGE, "serve"],
            env=variables(model_dir, **ports, **settings),
            stdout=output,
            stderr=output,
            start_new_session=True,  # so that its process group is all that it started
        )
    try:
        wait_until_ready(process, ports["SERVE_PORT"])
        yield Server(process, *ports.values(), log)
    finally:
        if alive(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_until_ready(process: subprocess.Popen, port: int) -> None:
    """Wait until a server takes requests."""
    children.wait_until_ready("the server", process, f"http://127.0.0.1:{port}{client.READY}")


def alive(group: int) -> bool:
    """Whether any process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 10.0) -> None:
    """Look until a condition holds; fail where it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.02)  # between two looks


class GrpcClient:
    """A gRPC client: seldon-core's messages are only to be had in the serving environment."""

    def __init__(self, python: str, port: int) -> None:
        self._process = subprocess.Popen(
            [python, Path(__file__).with_name("grpc_client.py"), str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def call(self, method: str, message: object = None, **request: object) -> dict:
        """Call a method with a message, or with `raw` bytes in base64; `puid` goes beside it.

        Returns `code` and `details` of the status, and the `answer` where it is OK.
        """
        self.send(method, message, **request)
        return self.receive()

    def pack(self, message: object) -> bytes:
        """The bytes of a message for Predict."""
        return base64.b64decode(self.call("pack", message)["raw"])

    def send(self, method: str, message: object = None, **request: object) -> None:
        """Begin a call."""
        request |= {"method": method, "message": message}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()

    def receive(self) -> dict:
        """Wait for the answer to the call that was begun first."""
        return json.loads(self._process.stdout.readline())

    def __enter__(self) -> "GrpcClient":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        self._process.wait(10)
