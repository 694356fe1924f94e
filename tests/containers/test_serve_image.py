"""The image of the server, confined as on a strict cluster."""

import http.client
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from test_loop import free_port, post

from .conftest import MARK, Company, Image
from .engine import CONFINED, Engine

pytestmark = pytest.mark.slow

PREDICT = "/api/v1.0/predictions"
MOST_BYTES = 600e6
STOPPED_WITHIN = 1.5  # seconds

LOOK = Path(__file__).with_name("look.py").read_text()


def contract(company: Company) -> dict:
    """What the packaged model promises."""
    return json.loads((company.repository.folder / "build/model/contract.json").read_text())


def request(company: Company, times: int = 1) -> dict:
    """The golden rows as one request."""
    names = [feature["name"] for feature in contract(company)["features"]]
    rows = [[row["inputs"][name] for name in names] for row in contract(company)["golden"]]
    return {"data": {"names": names, "ndarray": rows * times}}


def answers_golden_rows(company: Company, port: int) -> None:
    """Assert that the server on a port answers what training recorded."""
    answer = post(f"http://127.0.0.1:{port}{PREDICT}", request(company))
    golden = contract(company)["golden"]
    assert len(answer["data"]["ndarray"]) == len(golden) > 0
    for row, expected in zip(answer["data"]["ndarray"], golden, strict=True):
        assert row == pytest.approx(expected["outputs"], rel=1e-5, abs=1e-5)


@dataclass(frozen=True)
class Served:
    """A running server."""

    name: str
    port: int
    metrics_port: int


def ports() -> tuple[tuple[str, ...], int, int]:
    """Options for a container whose server listens on free ports, and these."""
    serve, metrics = free_port(), free_port()
    return ("--env", f"SERVE_PORT={serve}", "--env", f"METRICS_PORT={metrics}"), serve, metrics


@pytest.fixture(scope="module")
def served(podman: Engine, serve_image: Image, measured: dict[str, str]) -> Iterator[Served]:
    options, port, metrics_port = ports()
    start = time.monotonic()
    ready = f"http://127.0.0.1:{port}/health/status"
    with podman.container(serve_image.tag, options=options, ready=ready) as name:
        measured["serve container, start to ready"] = f"{time.monotonic() - start:.1f} s"
        yield Served(name, port, metrics_port)


def test_it_says_what_is_in_it(company: Company, podman: Engine, serve_image: Image):
    shown = json.loads(podman.podman("image", "inspect", serve_image.tag).stdout)[0]
    model = json.loads((company.repository.folder / "build/model.json").read_text())
    labels = shown["Config"]["Labels"]
    assert shown["Config"]["User"] == "1000:1000"
    assert shown["Size"] < MOST_BYTES
    assert labels["org.opencontainers.image.title"] == "penguins-serve"
    assert labels["org.opencontainers.image.revision"] == model["git_commit"]
    assert labels["org.opencontainers.image.source"].startswith("https://")
    assert labels["model.name"] == "penguins"
    assert labels["model.version"] == model["version"] == "1"
    assert labels["model.contract.sha256"] == model["contract_sha256"]


@pytest.fixture(scope="module")
def found(podman: Engine, serve_image: Image) -> dict:
    """What its user finds in it."""
    return json.loads(podman.run(serve_image.tag, "-c", LOOK, options=("--entrypoint=python",)))


def test_it_holds_compiled_code_that_its_user_can_only_read(found: dict):
    assert found["app"] == ["model", "monitoring", "pyproject.toml", "src"]
    assert found["sources"] > 2000
    assert found["uncompiled"] == []
    assert found["checks"] == [1]
    assert found["user"] == 1000
    assert found["owners"] == [0]
    assert found["unreadable"] == []
    assert found["writable"] == []


def test_no_tool_and_no_secret_of_the_build_is_left(
    found: dict, podman: Engine, serve_image: Image
):
    assert found["tools"] == []
    assert found["installers"] == []
    assert found["caches"] == []
    archive = podman.folder / "image.tar"
    podman.podman("save", "--output", archive, serve_image.tag)
    try:
        assert holds(archive, b"answers its golden rows")  # of the code: this looks into layers
        assert not holds(archive, MARK.encode())
    finally:
        archive.unlink()


def holds(file: Path, text: bytes) -> bool:
    """Whether a file that is too large for memory has some bytes in it."""
    rest = b""
    with file.open("rb") as opened:
        while part := opened.read(1 << 24):
            if text in rest + part:
                return True
            rest = part[-len(text) :]
    return False


def test_it_answers_as_training_recorded(company: Company, served: Served):
    answers_golden_rows(company, served.port)
    connection = http.client.HTTPConnection("127.0.0.1", served.metrics_port, timeout=10)
    connection.request("GET", "/metrics")
    assert b"model_" in connection.getresponse().read()
    connection.close()


def test_its_health_check_passes(podman: Engine, served: Served):
    assert podman.podman("healthcheck", "run", served.name, check=False).returncode == 0


def test_it_receives_alerts_where_it_is_told_to(podman: Engine, serve_image: Image, tmp_path: Path):
    token = tmp_path / "token"
    token.write_text("a-token")
    port = free_port()
    variables = {
        "RETRAIN_PORT": port,
        "RETRAIN_TOKEN_FILE": "/run/secrets/token",
        "GOCD_TOKEN_FILE": "/run/secrets/token",
        "RETRAIN_STATE": "/tmp/state.db",
        "SERVE_PORT": free_port(),
    }
    options = ("--volume", f"{token}:/run/secrets/token:ro")
    for name, value in variables.items():
        options += ("--env", f"{name}={value}")
    ready = f"http://127.0.0.1:{port}/healthz"
    with podman.container(serve_image.tag, "receive", options=options, ready=ready) as name:
        assert "alerts: ModelFeatureDrift" in podman.podman("logs", name).stderr
        # No server answers there: the check that passes elsewhere looks at something.
        assert podman.podman("healthcheck", "run", name, check=False).returncode != 0


def test_it_does_not_serve_a_tampered_model(
    company: Company, podman: Engine, serve_image: Image, tmp_path: Path
):
    folder = Path(shutil.copytree(company.repository.folder / "build/model", tmp_path / "model"))
    tampered = contract(company)
    tampered["golden"][0]["outputs"][0] *= 0.98
    (folder / "contract.json").write_text(json.dumps(tampered))
    options, _, _ = ports()
    done = podman.podman(
        "run", "--rm", *CONFINED, *options, "--volume", f"{folder}:/app/model:ro", serve_image.tag,
        check=False, seconds=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert "error: golden row 0" in done.stderr
    assert "Traceback" not in done.stderr


def test_another_model_than_the_judged_one_is_not_packaged(
    company: Company, serve_image: Image, measured: dict[str, str]
):
    start = time.monotonic()
    made = company.build("serve", f"{company.registry}/models/wrong:1", SHA256="ab" * 32)
    measured["serve image, refused, environment cached"] = f"{time.monotonic() - start:.0f} s"
    assert f"{'ab' * 32} is allowed" in made["error"]


@dataclass
class Client(threading.Thread):
    """Sends one large request after the other until it is told to stop."""

    port: int
    body: bytes
    stop: threading.Event
    answered: list[tuple[float, float, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        while not self.stop.is_set():
            sent = time.monotonic()
            connection.request("POST", PREDICT, self.body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            response.read()
            self.answered.append((sent, time.monotonic(), response.status))
        connection.close()


def test_it_ends_soon_and_answers_what_is_in_flight(
    company: Company, podman: Engine, serve_image: Image, measured: dict[str, str]
):
    options, port, _ = ports()
    body = json.dumps(request(company, times=400)).encode()
    stop = threading.Event()
    clients = [Client(port, body, stop) for _ in range(4)]
    ready = f"http://127.0.0.1:{port}/health/status"
    with podman.container(serve_image.tag, options=options, ready=ready) as name:
        process = int(podman.podman("inspect", "--format={{.State.Pid}}", name).stdout)
        for client in clients:
            client.start()
        wait_until(lambda: all(len(client.answered) > 2 for client in clients))
        stop.set()
        asked = time.monotonic()
        os.kill(process, signal.SIGTERM)
        wait_until(lambda: not Path(f"/proc/{process}").exists())
        seconds = time.monotonic() - asked
        for client in clients:
            client.join()
    measured["serve container, SIGTERM to end under load"] = f"{seconds:.2f} s"
    answered = [answer for client in clients for answer in client.answered]
    assert {status for _, _, status in answered} == {200}
    in_flight = [sent for sent, received, _ in answered if sent < asked < received]
    assert len(in_flight) == len(clients)
    assert seconds < STOPPED_WITHIN


def wait_until(condition, seconds: float = 30.0) -> None:
    """Look until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.005)  # between two looks


def test_the_registrys_digest_is_what_runs(company: Company, podman: Engine, serve_image: Image):
    assert serve_image.digest.startswith(f"{company.registry}/models/penguins-serve@sha256:")
    podman.podman("pull", "--tls-verify=false", serve_image.digest)
    options, port, _ = ports()
    ready = f"http://127.0.0.1:{port}/health/status"
    with podman.container(serve_image.digest, options=options, ready=ready):
        answers_golden_rows(company, port)
