"""Whether alerts may start a training: allow-list, episodes, cool-down and budget.

Every start is recorded before its request is sent. If the response is lost, with the connection or
with this process, the start is in doubt until the pipeline's history shows it, or has not shown it
for a while: so an alert starts exactly one training.
"""

import logging
import re
import sqlite3
import threading
import time
import tomllib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge
from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from modelloop.errors import UserError, explain
from modelloop.retrain.backends import (
    Backend,
    BusyError,
    RefusedError,
    Training,
    UnansweredError,
    UnavailableError,
)

logger = logging.getLogger(__name__)

WEEK = 7 * 86400
GRACE_SECONDS = 300.0  # a pipeline shows a run only after it has updated its materials
PATIENCE_SECONDS = 15.0  # how long a decision waits for another one
REASONS = 10  # named, of a hundred alerts


class Outcome(StrEnum):
    """The result of a notification, by pipeline."""

    STARTED = "started"
    BUSY = "busy"
    DUPLICATE = "duplicate"
    COOLDOWN = "cooldown"
    BUDGET = "budget"
    IGNORED = "ignored"
    UNAVAILABLE = "unavailable"
    REFUSED = "refused"


class Config(BaseModel, frozen=True, extra="forbid", strict=True):
    """The file monitoring/retraining.toml."""

    cooldown_hours: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    per_week: Annotated[int, Field(ge=0)]
    pipelines: dict[str, Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,254}$")]]

    @classmethod
    def read(cls, path: Path) -> "Config":
        """Read the file.

        Raises:
            UserError: it is not there or not valid; the message names the key.
        """
        try:
            return cls.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}") from error
        except ValidationError as error:
            raise UserError(f"{path}: {explain(error)}") from error
        except ValueError as error:  # no TOML, or no text
            raise UserError(f"{path}: {error}") from error


class Alert(BaseModel, frozen=True):
    """An alert as Alertmanager sends it."""

    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    starts_at: Annotated[AwareDatetime, Field(alias="startsAt")]
    fingerprint: Annotated[str, Field(pattern="^[0-9A-Za-z]{1,64}$")]


class Notification(BaseModel, frozen=True):
    """The body of Alertmanager's webhook, version 4."""

    version: Literal["4"]
    alerts: list[Alert]


class Metrics:
    """The receiver's metrics."""

    def __init__(self, model_name: str) -> None:
        """Count for one model, from 0."""
        self._name = model_name
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "retrain_requests",
            "Decisions on alerts' requests for training, by outcome",
            ["model_name", "outcome"],
            registry=self.registry,
        )
        self._last_start = Gauge(
            "retrain_last_start_timestamp_seconds",
            "When alerts last started a training; 0: never",
            ["model_name"],
            registry=self.registry,
        )
        for outcome in Outcome:
            self._requests.labels(self._name, outcome)
        self.started_at(0.0)

    def count(self, outcome: Outcome) -> None:
        """Count a decision."""
        self._requests.labels(self._name, outcome).inc()

    def started_at(self, seconds: float) -> None:
        """Show the time of the last start."""
        self._last_start.labels(self._name).set(seconds)


@dataclass(frozen=True)
class Doubt:
    """A start whose request was sent, and is not answered.

    Attributes:
        requested_at: when the request was sent, in seconds since 1970.
        newest_before: the number of the pipeline's newest run before that.
    """

    pipeline: str
    episode: str
    requested_at: float
    newest_before: int


class State:
    """The starts, in SQLite: they outlive the process."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it.

        Raises:
            UserError: it cannot be written or is no database.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._db.execute(
                "create table if not exists training (pipeline text, episode text, reason text,"
                " asked_at real not null, newest_before integer not null,"
                " outcome text,"  # null: in doubt
                " primary key (pipeline, episode))"
            )
        except (OSError, sqlite3.Error) as error:
            raise UserError(f"RETRAIN_STATE={str(path)!r}: {error}") from error

    def begin(self, training: Training, now: float, newest_before: int) -> None:
        """Record a start that is about to be requested."""
        key = (training.pipeline, training.episode, training.reason)
        self._do("insert into training values (?, ?, ?, ?, ?, null)", *key, now, newest_before)

    def close(self, pipeline: str, episode: str, outcome: Outcome) -> None:
        """Record the outcome of a start."""
        where = "where pipeline = ? and episode = ?"
        self._do(f"update training set outcome = ? {where}", outcome, pipeline, episode)

    def forget(self, pipeline: str, episode: str) -> None:
        """Remove a start that had no effect, so that it may be requested again."""
        self._do("delete from training where pipeline = ? and episode = ?", pipeline, episode)

    def doubt(self, pipeline: str) -> Doubt | None:
        """The start of a pipeline whose request is not answered; None where there is none."""
        columns = "pipeline, episode, asked_at, newest_before"
        row = self._do(
            f"select {columns} from training where pipeline = ? and outcome is null", pipeline
        )
        return Doubt(*row) if row else None

    def is_handled(self, training: Training) -> bool:
        """Whether this episode has had its training."""
        where = "pipeline = ? and episode = ? and outcome is not null"
        key = (training.pipeline, training.episode)
        return self._do(f"select 1 from training where {where}", *key) is not None

    def starts_since(self, pipeline: str, since: float) -> int:
        """How often a pipeline was started after a time."""
        where = "pipeline = ? and outcome = 'started' and asked_at > ?"
        return int(self._value(f"select count(*) from training where {where}", pipeline, since))

    def last_start(self) -> float:
        """When anything was last started; 0: never."""
        query = "select coalesce(max(asked_at), 0.0) from training where outcome = 'started'"
        return self._value(query)

    def disconnect(self) -> None:
        """Close the file."""
        self._db.close()

    def _value(self, statement: str, *values: object) -> float:
        (value,) = self._db.execute(statement, values).fetchone()
        return float(value)

    def _do(self, statement: str, *values: object) -> tuple | None:
        return self._db.execute(statement, values).fetchone()


class Policy:
    """Decides about one notification after the other."""

    def __init__(
        self,
        model_name: str,
        config: Config,
        state: State,
        backend: Backend,
        *,
        grace: float = GRACE_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.metrics = Metrics(model_name)
        self._name = model_name
        self.metrics.started_at(state.last_start())
        self._config = config
        self._state = state
        self._backend = backend
        self._grace = grace
        self._clock = clock
        self._lock = threading.Lock()

    def decide(self, notification: Notification) -> dict[str, Outcome]:
        """Start the trainings that the notification asks for, as far as that is allowed.

        Returns:
            The outcome by pipeline; empty where the notification asks for none.
        """
        trainings = wanted(notification, self._config.pipelines, self._name)
        if not trainings:
            self._record(Outcome.IGNORED, "no firing alert of this model's allow-list")
        return {training.pipeline: self._decide(training) for training in trainings}

    def close(self) -> None:
        """Wait for the decision that has begun; every later one fails."""
        with self._lock:
            self._state.disconnect()

    def _decide(self, training: Training) -> Outcome:
        why: object = ""
        try:
            outcome = self._alone(training)
        except BusyError as busy:
            outcome, why = Outcome.BUSY, busy
        except RefusedError as refused:
            outcome, why = Outcome.REFUSED, refused
        except (UnavailableError, UnansweredError, sqlite3.Error) as unavailable:
            outcome, why = Outcome.UNAVAILABLE, unavailable
        self._record(outcome, f"{training.pipeline}, {training.reason}", why)
        return outcome

    def _alone(self, training: Training) -> Outcome:
        if not self._lock.acquire(timeout=PATIENCE_SECONDS):
            raise UnavailableError("another decision takes long")
        try:
            return self._outcome(training)
        finally:
            self._lock.release()

    def _outcome(self, training: Training) -> Outcome:
        pipeline, now = training.pipeline, self._clock()
        if self._state.is_handled(training):
            return Outcome.DUPLICATE
        doubt = self._state.doubt(pipeline)
        if doubt and self._settle(doubt, now):
            if doubt.episode == training.episode:
                return Outcome.STARTED
            self._record(Outcome.STARTED, f"{pipeline}, requested by an earlier alert")
        if self._state.starts_since(pipeline, now - self._config.cooldown_hours * 3600):
            return Outcome.COOLDOWN
        if self._state.starts_since(pipeline, now - WEEK) >= self._config.per_week:
            return Outcome.BUDGET
        self._start(training, now)
        return Outcome.STARTED

    def _start(self, training: Training, now: float) -> None:
        episode = (training.pipeline, training.episode)
        newest = self._backend.newest_run(training.pipeline)
        self._state.begin(training, now, newest)
        try:
            self._backend.start(training)
        except (UnavailableError, RefusedError):
            self._state.forget(*episode)
            raise
        except BusyError:
            self._state.close(*episode, Outcome.BUSY)
            raise
        self._state.close(*episode, Outcome.STARTED)
        self.metrics.started_at(now)

    def _settle(self, doubt: Doubt, now: float) -> bool:
        """Whether a start in doubt has happened; False: it has not, and will not.

        A run is known by its number, which needs no clock of another machine. A person may have
        started it meanwhile: that is a training, too.

        Raises:
            UnavailableError: it is not known yet.
        """
        if self._backend.newest_run(doubt.pipeline) > doubt.newest_before:
            self._state.close(doubt.pipeline, doubt.episode, Outcome.STARTED)
            self.metrics.started_at(doubt.requested_at)
            return True
        if now - doubt.requested_at < self._grace:
            raise UnavailableError("an earlier start was not answered, and no run is seen yet")
        self._state.forget(doubt.pipeline, doubt.episode)
        return False

    def _record(self, outcome: Outcome, what: str, why: object = "") -> None:
        self.metrics.count(outcome)
        failed = outcome in (Outcome.UNAVAILABLE, Outcome.REFUSED)
        level = logging.WARNING if failed else logging.INFO
        logger.log(level, "%s: %s%s", outcome, what, f" ({why})" if why else "")


def wanted(
    notification: Notification, pipelines: dict[str, str], model_name: str
) -> list[Training]:
    """The trainings that the firing alerts of the allow-list ask for: one for each pipeline."""
    by_pipeline = defaultdict(list)
    for alert in notification.alerts:
        pipeline = pipelines.get(alert.labels.get("alertname", ""))
        if pipeline and alert.status == "firing" and alert.labels.get("model_name") == model_name:
            by_pipeline[pipeline].append(alert)
    return [_training(pipeline, alerts) for pipeline, alerts in by_pipeline.items()]


def _training(pipeline: str, alerts: list[Alert]) -> Training:
    first = min(alerts, key=lambda alert: (alert.starts_at, alert.fingerprint))
    since = first.starts_at.astimezone(UTC).isoformat()
    version = first.labels.get("model_version", "")
    reasons = sorted({_reason(alert.labels) for alert in alerts})
    more = len(reasons) - REASONS
    return Training(
        pipeline=pipeline,
        episode=f"version {version} since {since}",
        reason=", ".join(reasons[:REASONS]) + (f" and {more} more" if more > 0 else ""),
        fingerprint=first.fingerprint,
    )


def _reason(labels: dict[str, str]) -> str:
    name = ":".join(filter(None, [labels["alertname"], labels.get("feature")]))
    return re.sub(r"[^\w .:-]", "?", name)[:100]  # scripts read it as a variable
