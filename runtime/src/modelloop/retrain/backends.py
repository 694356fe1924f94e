"""What starts a training: a GoCD server, or `make train` on this machine."""

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

from requests import Response

from modelloop import http
from modelloop.http import HttpError
from modelloop.locks import LockedError, exclusive

logger = logging.getLogger(__name__)

GOCD_SECONDS = 10.0  # how long GoCD may be silent
GOCD_API = "application/vnd.go.cd.v1+json"  # GoCD compares the whole header; `*/*` would be a 404


@dataclass(frozen=True)
class Training:
    """A training that alerts ask for.

    Attributes:
        pipeline: the name of the GoCD pipeline.
        episode: what it is started for at most once: a model version, and when its alert began.
        reason: the names of the alerts, for people.
        fingerprint: of the oldest alert, as Alertmanager names it.
    """

    pipeline: str
    episode: str
    reason: str
    fingerprint: str

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables that pass the cause on to the training."""
        return {"RETRAIN_REASON": self.reason, "ALERT_FINGERPRINT": self.fingerprint}


class StartError(Exception):
    """A training was not started, or perhaps not; the message says why."""


class BusyError(StartError):
    """The pipeline runs already, or is paused."""


class UnavailableError(StartError):
    """Certainly nothing was started: a retry may follow at once."""


class RefusedError(StartError):
    """The pipeline server refuses the request, and would refuse it again."""


class UnansweredError(StartError):
    """The request was sent without an answer: only the history shows whether it had an effect."""


class Backend(Protocol):
    """Starts trainings and numbers them, so that one without an answer can be found."""

    def newest_run(self, pipeline: str) -> int:
        """The number of the pipeline's newest run; 0 before the first.

        Raises:
            StartError: the history cannot be read.
        """

    def start(self, training: Training) -> None:
        """Start a training.

        Raises:
            StartError: it was not started, or perhaps not.
        """


class GoCD:
    """A GoCD server."""

    def __init__(self, url: str, token: str, seconds: float = GOCD_SECONDS) -> None:
        """Use a personal access token, of a user who may operate the pipelines."""
        self._url = url.rstrip("/")
        self._token = token
        self._seconds = seconds

    def newest_run(self, pipeline: str) -> int:
        """The counter of the newest run in the pipeline's history."""
        try:
            history = http.json_of(self._send(f"{pipeline}/history"))
        except HttpError as error:
            kind = RefusedError if 0 < error.status < 500 else UnavailableError
            raise kind(_message(error)) from error
        try:
            return max((int(run["counter"]) for run in history["pipelines"]), default=0)
        except (ValueError, KeyError, TypeError) as error:
            raise RefusedError(f"GoCD answered without a history: {str(history)[:200]}") from error

    def start(self, training: Training) -> None:
        """Trigger the pipeline, on the newest commit of its materials."""
        body = {
            "environment_variables": [
                {"name": name, "value": value, "secure": False}
                for name, value in training.variables.items()
            ],
            "update_materials_before_scheduling": True,
        }
        try:
            response = self._send(f"{training.pipeline}/schedule", body)
        except HttpError as error:
            raise _kind_of(error)(_message(error)) from error
        if response.status_code != 202:
            raise RefusedError(f"GoCD answered {response.status_code}, where 202 is a start")

    def _send(self, path: str, body: object = None) -> Response:
        headers = {"Accept": GOCD_API}
        if body:
            headers["X-GoCD-Confirm"] = "true"
        return http.send(
            f"{self._url}/go/api/pipelines/{path}",
            body,
            headers=headers,
            authorization=f"bearer {self._token}",
            seconds=self._seconds,
        )


def _kind_of(error: HttpError) -> type[StartError]:
    """Whether a failed request may have started something, and whether a retry makes sense."""
    if error.status == 409:
        return BusyError
    if not error.is_sent or error.status in (503, 507):  # in maintenance; its disk is full
        return UnavailableError
    if not error.status or error.status >= 500:  # perhaps of a proxy that has passed the request on
        return UnansweredError
    return RefusedError


def _message(error: HttpError) -> str:
    if not error.is_sent:
        return f"no connection to GoCD: {error.reason}"
    if not error.status:
        return f"GoCD did not answer: {error.reason}"
    if error.status < 400:
        return f"GoCD answered {error.status}: {error.reason}"
    text = error.text
    try:
        answer = json.loads(text)
        text = answer.get("message") or answer["error"]
    except (ValueError, KeyError, AttributeError):
        pass  # GoCD has answers in plain text, a proxy has pages
    return f"GoCD answered {error.status}: {str(text)[:200]!r}"


class Local:
    """Runs a command on this machine, one at a time; `folder` keeps a numbered log of each."""

    def __init__(
        self, folder: Path, root: Path, command: Sequence[str] = ("make", "train")
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
        try:
            with exclusive(self._folder / "lock", wait=False):
                return False
        except LockedError:
            return True

    def start(self, training: Training) -> None:
        """Start the command in a session of its own, so that it outlives this process."""
        if not shutil.which(self._command[0]):
            raise RefusedError(f"there is no {self._command[0]} on this machine")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            # The command inherits the lock, and holds it to its end even if this process ends.
            with exclusive(self._folder / "lock", wait=False) as lock:
                number = self.newest_run(training.pipeline) + 1
                log = self._folder / f"{number:04d}-{training.fingerprint}.log"
                process = subprocess.Popen(
                    # The log is made by the new process, so that there is none without it.
                    ["/bin/sh", "-c", 'exec "$@" > "$0" 2>&1', log, *self._command],
                    cwd=self._root,
                    env=os.environ | training.variables,
                    stdin=subprocess.DEVNULL,
                    pass_fds=[lock],
                    start_new_session=True,
                )
        except LockedError as error:
            raise BusyError("a training runs on this machine") from error
        except OSError as error:
            raise UnavailableError(f"cannot start {self._command[0]}: {error}") from error
        threading.Thread(target=_see_out, args=(process, log), daemon=True).start()


def _see_out(process: subprocess.Popen, log: Path) -> None:
    code = process.wait()
    logger.info("the training of %s ended with exit code %d", log, code)
