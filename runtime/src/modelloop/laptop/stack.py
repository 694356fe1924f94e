"""Everything that watches the model, on this machine: `make monitor`.

The server, Prometheus, Alertmanager and the retraining receiver with the repository's own
configuration, each on 127.0.0.1, and an inbox in the place of pager and chat.
"""

import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from modelloop import subprocesses
from modelloop.errors import UserError
from modelloop.laptop import inbox, local_config, model_server, tools
from modelloop.laptop.local_config import Ports
from modelloop.monitoring.live import Prometheus
from modelloop.project import Project


@dataclass(frozen=True)
class Stack:
    """Everything that runs.

    Attributes:
        ports: where the programs listen.
        inbox: the notifications for people.
        server: the model server; None where it ran before.
    """

    ports: Ports
    inbox: inbox.Inbox
    server: subprocess.Popen[bytes] | None

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Query Prometheus: labels and value of each series.

        Raises:
            QueryError: Prometheus does not answer, or does not accept the query.
        """
        prometheus = Prometheus(f"http://127.0.0.1:{self.ports.prometheus}")
        found = prometheus.ask("query", query=expression)["result"]
        return [(series["metric"], float(series["value"][1])) for series in found]

    def firing(self, alert: str) -> bool:
        """Whether an alert fires; raises as `query` does."""
        labels = f'alertname="{alert}", alertstate="firing"'
        return bool(self.query(f"ALERTS{{{labels}}}"))


def watch(project: Project, *, fast: bool) -> None:
    """Start everything, print the addresses, stop it on Ctrl-C or SIGTERM.

    Args:
        project: the repository; the model in its model folder is served.
        fast: let an hour take ten seconds.

    Raises:
        UserError: a program is missing, a port is taken, or something does not start.
    """
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    env = project.settings
    folder, state = project.build / "monitoring", project.build / "retrain"
    ports = Ports(serve=env.serve_port, metrics=env.metrics_port)
    with running(project, ports, fast=fast, folder=folder, state=state) as stack:
        rows = {
            "model server": f"http://127.0.0.1:{ports.serve}/metadata"
            + ("" if stack.server else " (ran before)"),
            "metrics": f"http://127.0.0.1:{ports.metrics}/metrics",
            "Prometheus": f"http://127.0.0.1:{ports.prometheus}/alerts",
            "Alertmanager": f"http://127.0.0.1:{ports.alertmanager}",
            "retraining": f"http://127.0.0.1:{ports.receiver}/metrics, `make train` in {state}",
        }
        for name, where in rows.items():
            print(f"  {name:<13} {where}")
        print("Pages and tickets are shown here. Ctrl-C stops everything.", flush=True)
        while not ended.wait(0.5):  # a wait without end can miss a signal
            pass
    print("stopped")


@contextmanager
def running(
    project: Project, ports: Ports, *, fast: bool, folder: Path, state: Path
) -> Iterator[Stack]:
    """Run everything until the block ends; a server that runs already is left alone.

    Args:
        project: the repository; the model in its model folder is served.
        ports: where the programs listen.
        fast: let an hour take ten seconds.
        folder: for configuration, data and logs.
        state: the folder of what the receiver keeps over restarts.

    Raises:
        UserError: a program is missing, a port is taken, or something does not start.
    """
    programs = {
        name: tools.find(project, name) for name in ("prometheus", "prometheus-alertmanager")
    }
    serving = subprocesses.answers(f"http://127.0.0.1:{ports.metrics}/metrics")
    for name, port in asdict(ports).items():
        if not (serving and name in ("serve", "metrics")):
            _check_free(name, port)
    files = local_config.write(project, folder, ports, fast=fast)
    with ExitStack() as stack:
        messages = stack.enter_context(inbox.running(ports.inbox))
        server = None
        if not serving:
            server = stack.enter_context(
                model_server.running(project, ports.serve, ports.metrics, folder / "server.log")
            )
        stack.enter_context(_receiver(project, ports, files.token, folder, state))
        stack.enter_context(
            subprocesses.running(
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
                tools.working_folder(project),
            )
        )
        stack.enter_context(
            subprocesses.running(
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
    project: Project, ports: Ports, token: Path, folder: Path, state: Path
) -> AbstractContextManager[subprocess.Popen[bytes]]:
    return subprocesses.running(
        "the retraining receiver",
        [project.settings.serve_python, "-m", "modelloop", "receive"],
        f"http://127.0.0.1:{ports.receiver}/healthz",
        folder / "receiver.log",
        project.root,
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
