"""Model servers that tests start: the real one, in the serving environment, on free ports."""

import base64
import http.client
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from modelloop import subprocesses
from modelloop.project import Project
from modelloop.serving import client

PREDICT = client.PREDICT
FEEDBACK = client.FEEDBACK
# Seconds. Two are promised; a machine that runs two test suites at once needs more.
STOPPED_WITHIN = 5.0
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Answer:
    """An HTTP response."""

    status: int
    headers: http.client.HTTPMessage
    text: str

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.text)

    @property
    def reason(self) -> tuple[int, str]:
        """The HTTP status and the reason; the body repeats the status."""
        assert self.json["status"]["code"] == self.status
        return self.status, self.json["status"]["reason"]


@dataclass(frozen=True)
class Server:
    """A running server."""

    process: subprocess.Popen[bytes]
    port: int
    metrics_port: int
    grpc_port: int
    log: Path

    def connect(self, timeout: float = 10.0) -> http.client.HTTPConnection:
        """A connection that takes one request after the other; `timeout` is in seconds."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def call(
        self,
        method: str,
        path: str,
        body: str | bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] = JSON,
        port: int | None = None,
        timeout: float = 10.0,
    ) -> Answer:
        """Send one request over a connection of its own; an iterator as body is sent in chunks."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=timeout)
        try:
            connection.request(method, path, body, headers)
            return read(connection)
        finally:
            connection.close()

    def predict(self, message: object, **headers: str) -> Answer:
        """Send a prediction request: a message that JSON can hold."""
        return self.call("POST", PREDICT, json.dumps(message), JSON | headers)

    @property
    def workers(self) -> list[int]:
        """The process ids of the workers, in ascending order."""
        found = subprocess.run(
            ["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True
        )
        return sorted(map(int, found.stdout.split()))


def read(connection: http.client.HTTPConnection) -> Answer:
    """The response to the request that was sent over a connection."""
    response = connection.getresponse()
    return Answer(response.status, response.headers, response.read().decode())


def command(project: Project, python: str) -> list[str]:
    """The command that starts a server of the repository."""
    return [python, "-m", "modelloop", "--project", str(project.root), "serve"]


def variables(model_dir: Path, **settings: object) -> dict[str, str]:
    """The environment of a server."""
    fixed = {"MODEL_DIR": model_dir, "SERVE_HOST": "127.0.0.1"}
    return {**os.environ, **{name: str(value) for name, value in (fixed | settings).items()}}


def free_ports() -> dict[str, int]:
    """Ports for one server, by the names of its settings."""
    names = ("SERVE_PORT", "METRICS_PORT", "GRPC_PORT")
    return dict(zip(names, subprocesses.free_ports(len(names)), strict=True))


@contextmanager
def running(
    project: Project, python: str, model_dir: Path, log: Path, **settings: object
) -> Iterator[Server]:
    """A server that is ready; at the end of the block all its processes are killed.

    Args:
        project: the repository whose server it is.
        python: the interpreter of the serving environment.
        model_dir: the folder of the model.
        log: the file for its output.
        settings: environment variables of the server.
    """
    ports = free_ports()
    with log.open("w") as output:
        process = subprocess.Popen(
            command(project, python),
            env=variables(model_dir, **ports, **settings),
            stdout=output,
            stderr=output,
            start_new_session=True,  # so that its process group is all that it started
        )
    try:
        wait_until_ready(process, ports["SERVE_PORT"])
        yield Server(process, ports["SERVE_PORT"], ports["METRICS_PORT"], ports["GRPC_PORT"], log)
    finally:
        if alive(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_until_ready(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until a server takes requests."""
    subprocesses.wait_until_ready("the server", process, f"http://127.0.0.1:{port}{client.READY}")


def alive(group: int) -> bool:
    """Whether any process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 10.0) -> None:
    """Check a condition until it holds; the test fails where it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.02)  # between two checks


class GrpcClient:
    """A gRPC client in a subprocess: only the serving environment has seldon-core's messages."""

    def __init__(self, python: str, port: int) -> None:
        self._process = subprocess.Popen(
            [python, Path(__file__).with_name("grpc_client.py"), str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin
        assert self._process.stdout
        self._requests, self._responses = self._process.stdin, self._process.stdout

    def call(self, method: str, message: object = None, **request: object) -> dict[str, Any]:
        """Call a method with a message, or with `raw` bytes in base64; `puid` goes beside it.

        Returns:
            `code` and `details` of the status, and the `answer` where it is OK.
        """
        self.send(method, message, **request)
        return self.receive()

    def pack(self, message: object) -> bytes:
        """The bytes of a message for Predict."""
        return base64.b64decode(self.call("pack", message)["raw"])

    def send(self, method: str, message: object = None, **request: object) -> None:
        """Begin a call."""
        request |= {"method": method, "message": message}
        self._requests.write(json.dumps(request) + "\n")
        self._requests.flush()

    def receive(self) -> dict[str, Any]:
        """Wait for the response to the earliest call that was begun."""
        response: dict[str, Any] = json.loads(self._responses.readline())
        return response

    def __enter__(self) -> "GrpcClient":
        return self

    def __exit__(self, *_: object) -> None:
        self._requests.close()
        self._process.wait(10)
