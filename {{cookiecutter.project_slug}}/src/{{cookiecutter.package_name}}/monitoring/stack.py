"""Everything that watches the model, on this machine: `make monitor`.

The server, Prometheus, Alertmanager and the retraining receiver with the repository's own
configuration, each on 127.0.0.1, and an inbox in the place of pager and chat.
"""

import json
import signal
import socket
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from .. import children
from ..errors import UserError
from ..settings import ROOT, Settings
from . import inbox, local_config, tools
from .local_config import Ports

FOLDER = ROOT / "build" / "monitoring"
STATE = ROOT / "build" / "retrain"
PACKAGE = __package__.rpartition(".")[0]


@dataclass(frozen=True)
class Stack:
    """What runs."""

    ports: Ports
    inbox: inbox.Inbox
    server: subprocess.Popen | None  # None where it ran before

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Ask Prometheus: labels and value of each series."""
        query = urllib.parse.urlencode({"query": expression})
        url = f"http://127.0.0.1:{self.ports.prometheus}/api/v1/query?{query}"
        with urllib.request.urlopen(url, timeout=10) as response:
            found = json.load(response)["data"]["result"]
        return [(series["metric"], float(series["value"][1])) for series in found]

    def firing(self, alert: str) -> bool:
        """Whether an alert fires."""
        labels = f'alertname="{alert}", alertstate="firing"'
        return bool(self.query(f"ALERTS{{{labels}}}"))


def watch(env: Settings, *, fast: bool) -> int:
    """Start everything, say where it is, stop it on Ctrl-C or SIGTERM."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    ports = Ports(serve=env.serve_port, metrics=env.metrics_port)
    with running(env, ports, fast=fast) as stack:
        rows = {
            "model server": f"http://127.0.0.1:{ports.serve}/metadata"
            + ("" if stack.server else " (ran before)"),
            "metrics": f"http://127.0.0.1:{ports.metrics}/metrics",
            "Prometheus": f"http://127.0.0.1:{ports.prometheus}/alerts",
            "Alertmanager": f"http://127.0.0.1:{ports.alertmanager}",
            "retraining": f"http://127.0.0.1:{ports.receiver}/metrics, `make train` in {STATE}",
        }
        for name, where in rows.items():
            print(f"  {name:<13} {where}")
        print("Pages and tickets are shown here. Ctrl-C stops everything.", flush=True)
        while not ended.wait(0.5):  # a wait without end can miss a signal
            pass
    print("stopped")
    return 0


@contextmanager
def running(
    env: Settings, ports: Ports, *, fast: bool, folder: Path = FOLDER, state: Path = STATE
) -> Iterator[Stack]:
    """Run everything until the block ends; a server that runs already is left alone.

    Raises:
        UserError: a program is missing, a port is taken, or something does not start.
    """
    programs = {name: tools.find(name) for name in ("prometheus", "prometheus-alertmanager")}
    serving = children.answers(f"http://127.0.0.1:{ports.metrics}/metrics")
    for name, port in asdict(ports).items():
        if not (serving and name in ("serve", "metrics")):
            _check_free(name, port)
    files = local_config.write(folder, ports, fast=fast)
    with ExitStack() as stack:
        messages = stack.enter_context(inbox.running(ports.inbox))
        server = None
        if not serving:
            server = stack.enter_context(
                children.model_server(env, ports.serve, ports.metrics, folder / "server.log")
            )
        stack.enter_context(_receiver(env, ports, files.token, folder, state))
        stack.enter_context(
            children.running(
                "Alertmanager",
                [
                    programs["prometheus-alertmanager"],
                    f"--config.file={files.alertmanager}",
                    f"--storage.path={folder / 'alertmanager'}",
                    f"--web.listen-address=127.0.0.1:{ports.alertmanager}",
                    "--cluster.listen-address=",  # else it listens on all interfaces
                ],
                f"http://127.0.0.1:{ports.alertmanager}/-/ready",
                folder / "alertmanager.log",
                tools.working_folder(),
            )
        )
        stack.enter_context(
            children.running(
                "Prometheus",
                [
                    programs["prometheus"],
                    f"--config.file={files.prometheus}",
                    f"--storage.tsdb.path={folder / 'prometheus'}",
                    "--storage.tsdb.retention.time=32d",  # the longest window is 30 days
                    f"--web.listen-address=127.0.0.1:{ports.prometheus}",
                ],
                f"http://127.0.0.1:{ports.prometheus}/-/ready",
                folder / "prometheus.log",
            )
        )
        yield Stack(ports, messages, server)


def _receiver(
    env: Settings, ports: Ports, token: Path, folder: Path, state: Path
) -> AbstractContextManager:
    return children.running(
        "the retraining receiver",
        [env.serve_python, "-m", PACKAGE, "receive"],
        f"http://127.0.0.1:{ports.receiver}/healthz",
        folder / "receiver.log",
        RETRAIN_HOST="127.0.0.1",
        RETRAIN_PORT=str(ports.receiver),
        RETRAIN_BACKEND="local",
        RETRAIN_TOKEN_FILE=str(token),
        RETRAIN_STATE=str(state / "state.db"),
    )


def _check_free(name: str, port: int) -> None:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        raise UserError(
            f"127.0.0.1:{port} ({name}) is taken: {error.strerror}; is another `make monitor` "
            "running?"
        ) from error
