"""What starts a training: a GoCD server, or `make train` on this machine."""

import fcntl
import http.client
import json
import logging
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from ..settings import ROOT

logger = logging.getLogger(__name__)

GOCD_SECONDS = 10.0  # how long GoCD may be silent
GOCD_API = "application/vnd.go.cd.v1+json"  # GoCD compares the whole header; `*/*` would be a 404


@dataclass(frozen=True)
class Training:
    """A training that alerts ask for."""

    pipeline: str
    episode: str
    reason: str
    fingerprint: str

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables that the training is told its cause in."""
        return {"RETRAIN_REASON": self.reason, "ALERT_FINGERPRINT": self.fingerprint}


class StartError(Exception):
    """A start that was asked for did not come about; the message says why."""


class BusyError(StartError):
    """The pipeline runs already, or is paused."""


class UnavailableError(StartError):
    """Certainly nothing was started: it may be asked for again at once."""


class RefusedError(StartError):
    """The pipeline server said no, and would say it again."""


class UnansweredError(StartError):
    """It was asked for, and nobody knows whether it was started."""


class Backend(Protocol):
    """Starts trainings, and numbers them, so that one asked for in vain can be told apart."""

    def newest_run(self, pipeline: str) -> int:
        """The number of the pipeline's newest run; 0 before the first.

        Raises:
            StartError: it cannot be told.
        """

    def start(self, training: Training) -> None:
        """Start a training.

        Raises:
            StartError: it was not started, or perhaps not.
        """


class GoCD:
    """A GoCD server; `token` is a personal access token that may operate the pipelines."""

    def __init__(self, url: str, token: str, seconds: float = GOCD_SECONDS) -> None:
        self._url = urlsplit(url)
        self._token = token
        self._seconds = seconds

    def newest_run(self, pipeline: str) -> int:
        """The counter of the newest run in the pipeline's history."""
        connection = self._connect()
        try:
            status, text = self._ask(connection, "GET", f"{pipeline}/history")
        except (OSError, http.client.HTTPException) as error:
            raise UnavailableError(f"GoCD's history broke off: {error!r}") from error
        if status != 200:
            kind = UnavailableError if status >= 500 else RefusedError
            raise kind(self._said(status, text))
        try:
            return max((int(run["counter"]) for run in json.loads(text)["pipelines"]), default=0)
        except (ValueError, KeyError, TypeError) as error:
            raise RefusedError(f"no history of GoCD's: {self._said(status, text)}") from error

    def start(self, training: Training) -> None:
        """Trigger the pipeline, on the newest commit of its materials."""
        body = {
            "environment_variables": [
                {"name": name, "value": value, "secure": False}
                for name, value in training.variables.items()
            ],
            "update_materials_before_scheduling": True,
        }
        connection = self._connect()
        try:
            status, text = self._ask(connection, "POST", f"{training.pipeline}/schedule", body)
        except (OSError, http.client.HTTPException) as error:
            raise UnansweredError(f"GoCD was asked and did not answer: {error!r}") from error
        if status == 202:
            return
        if status == 409:
            raise BusyError(self._said(status, text))
        if status in (503, 507):  # in maintenance; its disk is full
            raise UnavailableError(self._said(status, text))
        if status >= 500:  # perhaps a proxy's, which has passed the request on
            raise UnansweredError(self._said(status, text))
        raise RefusedError(self._said(status, text))

    def _connect(self) -> http.client.HTTPConnection:
        kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
        connection = kinds[self._url.scheme](
            self._url.hostname, self._url.port, timeout=self._seconds
        )
        try:
            connection.connect()
        except OSError as error:
            raise UnavailableError(f"no connection to GoCD: {error}") from error
        return connection

    def _ask(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: object = None
    ) -> tuple[int, str]:
        headers = {"Accept": GOCD_API, "Authorization": f"bearer {self._token}"}
        if body:
            headers |= {"Content-Type": "application/json", "X-GoCD-Confirm": "true"}
        try:
            connection.request(
                method,
                f"{self._url.path.rstrip('/')}/go/api/pipelines/{path}",
                json.dumps(body) if body else None,
                headers,
            )
            response = connection.getresponse()
            return response.status, response.read().decode(errors="replace")
        finally:
            connection.close()

    def _said(self, status: int, text: str) -> str:
        try:
            answer = json.loads(text)
            text = answer.get("message") or answer["error"]
        except (ValueError, KeyError, AttributeError):
            pass  # GoCD has answers in plain text, a proxy has pages
        text = str(text).replace(self._token, "...")  # there are pages that repeat the request
        return f"GoCD answered {status}: {text[:200]!r}"


class Local:
    """Runs a command on this machine, one at a time; `folder` keeps a numbered log of each."""

    def __init__(
        self, folder: Path, command: Sequence[str] = ("make", "train"), root: Path = ROOT
    ) -> None:
        self._folder = folder.resolve()
        self._command = command
        self._root = root

    def newest_run(self, pipeline: str) -> int:
        """The number of the newest log."""
        names = [re.match(r"(\d+)-", log.name) for log in self._folder.glob("*.log")]
        return max((int(number[1]) for number in names if number), default=0)

    def busy(self) -> bool:
        """Whether the command runs: it holds the lock to its end."""
        with (self._folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def start(self, training: Training) -> None:
        """Start the command in a session of its own, so that it outlives this process."""
        if not shutil.which(self._command[0]):
            raise RefusedError(f"there is no {self._command[0]} on this machine")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            # The command inherits the lock and holds it to its end, whatever becomes of us.
            with (self._folder / "lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                number = self.newest_run(training.pipeline) + 1
                log = self._folder / f"{number:04d}-{training.fingerprint}.log"
                process = subprocess.Popen(
                    # The log is made by the new process, so that there is none without it.
                    ["/bin/sh", "-c", 'exec "$@" > "$0" 2>&1', log, *self._command],
                    cwd=self._root,
                    env=os.environ | training.variables,
                    stdin=subprocess.DEVNULL,
                    pass_fds=[lock.fileno()],
                    start_new_session=True,
                )
        except BlockingIOError as error:
            raise BusyError("a training runs on this machine") from error
        except OSError as error:
            raise UnavailableError(f"cannot start {self._command[0]}: {error}") from error
        threading.Thread(target=_see_out, args=(process, log), daemon=True).start()


def _see_out(process: subprocess.Popen, log: Path) -> None:
    code = process.wait()
    logger.info("the training of %s ended with exit code %d", log, code)
