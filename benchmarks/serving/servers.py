"""The servers that are compared: how each is laid out, started, asked and stopped."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

import joblib
import numpy as np
import skops.io
from load import ANSWER_SECONDS

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "runtime" / "src"
PEERS = Path(__file__).resolve().with_name("peers")
MAIN = ROOT / "build" / "env" / "main"
SERVE = ROOT / "build" / "env" / "serve"
BENCH = ROOT / "build" / "bench" / "serve"
EXAMPLE = BENCH / "penguins"
MODEL = EXAMPLE / "build" / "model"

TOLERANCE = 1e-5  # of a probability
START_SECONDS = 90
STOP_SECONDS = 10
# Of every process: one thread for its libraries, and bytecode is kept.
VARIABLES = os.environ | {"OMP_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1"}
VARIABLES |= {"PYTHONPATH": str(LIBRARY)}  # the sources, not the wheel that is installed
VARIABLES.pop("PYTHONDONTWRITEBYTECODE", None)
Rows = list[list[object]]


@dataclass(frozen=True)
class Question:
    """The same rows for every server, and what the scikit-learn model says of them offline."""

    names: list[str]
    rows: Rows
    expected: np.ndarray


@dataclass(frozen=True)
class Server:
    """How to start a server, ask it and read its answer.

    It starts in the example's folder. In command and variables, {0}, {1} and {2} stand for free
    ports; it answers at the first.
    """

    key: str
    label: str
    setting: str  # for the docs: what runs, and how
    versions: str  # for the docs, too
    environment: Path  # whose programs the command finds first
    command: str
    variables: dict[str, object]
    path: str
    request: Callable[[list[str], Rows], object]
    outputs: Callable[[dict], object]  # probabilities, one row each


def train() -> object:
    """Render the example with the default answers, train its model and return the pipeline."""
    print("rendering and training the example")
    shutil.rmtree(EXAMPLE, ignore_errors=True)
    cookiecutter = ROOT / ".venv" / "bin" / "cookiecutter"
    run(cookiecutter, ROOT, "--no-input", "--default-config", "--output-dir", BENCH)
    # The environments are in place: a lock that is younger is not a reason to make them again.
    for lock in (EXAMPLE / "requirements").glob("*.txt"):
        os.utime(lock, (0, 0))
    goals = ("train", "promote", "model")
    run("make", "-C", EXAMPLE, *goals, f"VENV={MAIN}", f"VENV_SERVE={SERVE}")
    path = MODEL / "model.skops"
    return skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path))


def make_servers(pipeline: object) -> list[Server]:
    """Lay out the model as each server wants it, and make the peers' environments."""
    return [ours(), fastapi(), mlserver(pipeline), mlflow()]


def ours() -> Server:
    """Serve the ONNX form with the server of the example."""
    return Server(
        key="ours",
        label="this template's server",
        setting="`python -m modelloop serve`, default settings, the ONNX form; checks each request "
        "against the contract",
        versions=versions(SERVE, "uvicorn", "httptools", "gunicorn", "onnxruntime", "numpy"),
        environment=SERVE,
        command="python -m modelloop serve",
        variables={"SERVE_PORT": "{0}", "METRICS_PORT": "{1}", "PYTHONPATH": f"{LIBRARY}:src"},
        path="/api/v1.0/predictions",
        request=lambda names, rows: {"data": {"names": names, "ndarray": rows}},
        outputs=lambda answer: answer["data"]["ndarray"],
    )


def fastapi() -> Server:
    """Serve the ONNX form with as little as can be."""
    environment = peer_environment("fastapi_onnx")
    packages = ("fastapi", "uvicorn", "uvloop", "httptools", "orjson", "onnxruntime")
    return Server(
        key="fastapi",
        label="bare FastAPI, ONNX",
        setting="`benchmarks/serving/peers/fastapi_onnx/app.py` under uvicorn with uvloop and "
        "httptools, orjson, on the same ONNX file; no validation, no metrics, no access log",
        versions=versions(environment, *packages),
        environment=environment,
        command="uvicorn app:app --host 127.0.0.1 --port {0} --loop uvloop --http httptools "
        "--no-access-log",
        variables={"MODEL_FILE": "build/model/model.onnx", "PYTHONPATH": PEERS / "fastapi_onnx"},
        path="/predict",
        request=lambda names, rows: {"names": names, "rows": rows},
        outputs=lambda answer: answer["outputs"],
    )


def mlserver(pipeline: object) -> Server:
    """Serve the scikit-learn pipeline with MLServer."""
    environment = peer_environment("mlserver_sklearn")
    packages = ("mlserver", "mlserver-sklearn", "uvicorn", "uvloop", "httptools", "scikit-learn")
    folder = shutil.copytree(PEERS / "mlserver_sklearn", EXAMPLE / "build" / "mlserver")
    joblib.dump(pipeline, folder / "model.joblib")
    return Server(
        key="mlserver",
        label="MLServer, scikit-learn",
        setting="its stock scikit-learn runtime on the same pipeline as joblib; "
        "`parallel_workers: 0` (a worker process only adds cost to a model this small), no "
        "access log, no gzip, uvloop and httptools; V2 protocol, content type `pd`",
        versions=versions(environment, *packages),
        environment=environment,
        command="mlserver start build/mlserver",
        variables={
            "MLSERVER_HTTP_PORT": "{0}",
            "MLSERVER_GRPC_PORT": "{1}",
            "MLSERVER_METRICS_PORT": "{2}",
        },
        path="/v2/models/model/infer",
        request=columns,
        outputs=lambda answer: np.reshape(
            *(answer["outputs"][0][key] for key in ("data", "shape"))
        ),
    )


def mlflow() -> Server:
    """Serve the registered model with MLflow."""
    folder = shutil.copytree(MODEL, EXAMPLE / "build" / "mlflow")
    described = (folder / "MLmodel").read_text()
    if described.count("predict_fn: predict\n") != 1:
        sys.exit(f"{MODEL / 'MLmodel'} does not say `predict_fn: predict`: adapt mlflow()")
    described = described.replace("predict_fn: predict\n", "predict_fn: predict_proba\n")
    (folder / "MLmodel").write_text(described)
    return Server(
        key="mlflow",
        label="MLflow, scikit-learn",
        setting="`mlflow models serve --env-manager local --workers 1` of the registered "
        "model, told to answer with probabilities like the others (`predict_fn`)",
        versions=versions(MAIN, "mlflow", "uvicorn", "scikit-learn", "pandas"),
        environment=MAIN,
        command="mlflow models serve --model-uri build/mlflow --env-manager local --workers 1 "
        "--host 127.0.0.1 --port {0}",
        variables={"MLFLOW_DISABLE_TELEMETRY": "true"},
        path="/invocations",
        request=lambda names, rows: {"dataframe_split": {"columns": names, "data": rows}},
        outputs=lambda answer: answer["predictions"],
    )


def columns(names: list[str], rows: Rows) -> dict[str, object]:
    """Make a V2 request with one input for each column."""
    inputs = []
    for name, values in zip(names, zip(*rows, strict=True), strict=True):
        column = {"name": name, "shape": [len(rows), 1], "datatype": "FP32", "data": values}
        if isinstance(values[0], str):
            column |= {"datatype": "BYTES", "parameters": {"content_type": "str"}}
        inputs.append(column)
    return {"parameters": {"content_type": "pd"}, "inputs": inputs}


def peer_environment(peer: str) -> Path:
    """Return the environment of a peer, made again when what it needs has changed."""
    folder = BENCH / "env" / peer
    # The model's own libraries, named without a version, are those it was trained with.
    needed = (PEERS / peer / "requirements.txt").read_text()
    pinned = re.sub(r"(?m)^[\w-]+$", lambda name: f"{name[0]}=={version(name[0])}", needed)
    wanted = f"{pinned}# Python {sys.version!r}\n"
    installed = folder / "installed.txt"
    if not installed.is_file() or installed.read_text() != wanted:
        print(f"installing the environment of {peer}")
        shutil.rmtree(folder, ignore_errors=True)
        uv = ROOT / ".venv" / "bin" / "uv"
        run(uv, "venv", "--quiet", "--python", sys.executable, folder)
        requirements = folder / "requirements.txt"
        requirements.write_text(wanted)
        install = (uv, "pip", "install", "--quiet", "--compile-bytecode")
        run(*install, "--python", folder, "--requirement", requirements)
        requirements.rename(installed)
    return folder


def versions(environment: Path, *packages: str) -> str:
    """Tell Python and the packages that matter, as an environment has them."""
    code = """
import importlib.metadata, platform, sys
found = (f"{name} {importlib.metadata.version(name)}" for name in sys.argv[1:])
print("Python " + platform.python_version(), *found, sep=", ")
"""
    return run(environment / "bin" / "python", "-c", code, *packages).strip()


def run(*command: object) -> str:
    """Run a command and return what it prints; when it fails, end with its last words."""
    words = [str(word) for word in command]
    done = subprocess.run(words, env=VARIABLES, capture_output=True, text=True)
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        sys.exit(f"{last}\nthis failed, see above: {' '.join(words)}")
    return done.stdout


class Running:
    """A server that runs, until it is closed."""

    def __init__(self, server: Server, question: Question) -> None:
        self.server = server
        self.question = question
        self.log = BENCH / f"{server.key}.log"
        ports = free_ports(3)
        self.port = ports[0]
        variables = {key: str(value).format(*ports) for key, value in server.variables.items()}
        variables["PATH"] = f"{server.environment / 'bin'}:{os.environ['PATH']}"
        with self.log.open("wb") as output:
            self.begin = time.perf_counter()
            self.process = subprocess.Popen(
                server.command.format(*ports).split(),
                env=VARIABLES | variables,
                cwd=EXAMPLE,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a process group of its own, to be ended as one
            )

    def wait(self) -> float:
        """Ask for one row until the right answer comes; return the seconds from the start to it.

        Ends the benchmark when the server has ended, takes long, or answers all rows otherwise.
        """
        last = "no connection"
        while time.perf_counter() - self.begin < START_SECONDS and self.process.poll() is None:
            try:
                status, body = self.ask(1)
            except (OSError, HTTPException) as error:
                last = repr(error)
            else:
                if status == 200:
                    self.check(status, body, 1)
                    start = time.perf_counter() - self.begin
                    every = len(self.question.rows)
                    self.check(*self.ask(every), every)
                    return start
                last = f"{status} {body[:500]}"  # perhaps it is still loading its model
            time.sleep(0.02)  # between two questions
        code = self.process.poll()
        why = f"gives no answer in {START_SECONDS} s" if code is None else f"ended with code {code}"
        self.fail(f"{why}; at last: {last}")

    def ask(self, rows: int) -> tuple[int, bytes]:
        """Send one request; return status and body."""
        headers = {"Content-Type": "application/json"}
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS)) as connection:
            connection.request("POST", self.server.path, self.body(rows), headers)
            response = connection.getresponse()
            return response.status, response.read()

    def body(self, rows: int, first: int = 0) -> bytes:
        """Make the body of a request with so many rows, from that one on."""
        turned = self.question.rows[first:] + self.question.rows[:first]
        return json.dumps(self.server.request(self.question.names, turned[:rows])).encode()

    def check(self, status: int, body: bytes, rows: int) -> None:
        """End unless an answer has the probabilities that the model gives offline."""
        expected = self.question.expected[:rows]
        try:
            actual = np.array(self.server.outputs(json.loads(body)), dtype=float)
        except (ValueError, LookupError, TypeError):
            actual = np.array([])
        same = actual.shape == expected.shape and np.allclose(actual, expected, 0, TOLERANCE)
        if status != 200 or not same:
            self.fail(
                f"answers {rows} rows otherwise than the model offline, which starts with "
                f"{expected[0].tolist()}; it says {status} {body[:500]}"
            )

    def cpu(self) -> float:
        """Sum the CPU seconds of its processes, with those of their children that have ended."""
        ticks = [sum(map(int, fields[11:15])) for fields in self.processes().values()]
        return sum(ticks) / os.sysconf("SC_CLK_TCK")

    def pss(self) -> float:
        """Sum the memory of its processes, in MB; what they share counts once."""
        texts = [Path(f"/proc/{p}/smaps_rollup").read_text() for p in self.processes()]
        found = [int(re.search(r"^Pss:\s+(\d+)", text, re.MULTILINE)[1]) for text in texts]
        return sum(found) * 1024 / 1e6

    def processes(self) -> dict[int, list[str]]:
        """Find it and all below it, each with its /proc/<pid>/stat from the third field on."""
        stats = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
                # The second field, a name in brackets, may hold spaces.
                stats[int(path.parent.name)] = path.read_text().rpartition(")")[2].split()
        found = {self.process.pid}
        while below := {p for p, fields in stats.items() if int(fields[1]) in found} - found:
            found |= below
        return {p: stats[p] for p in found if p in stats}

    def fail(self, what: str) -> NoReturn:
        """End the benchmark: without this server it says nothing."""
        sys.exit(f"{self.server.label} {what}\nits log: {self.log}")

    def close(self) -> None:
        """End it and whatever it has started."""
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait(STOP_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # what is left
        self.process.wait()


def free_ports(count: int) -> list[int]:
    """Choose ports that nothing listens on."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports
