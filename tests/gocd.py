"""Runs pipelines of a .gocd.yaml on this machine, by the rules that a GoCD server and agent keep.

A fresh clone for each job, nothing but artifacts from one job to the next, no shell, `run_if`,
variables from the widest scope to the narrowest and those of the trigger last, secrets from a
store, dependencies between pipelines, manual stages with roles, locks, cancelled jobs with
`on_cancel`, agents that die. Not emulated: several runs of a job, time limits, plugins.
"""

import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

SECRET = re.compile(r"\{\{SECRET:\[(.+?)\]\[(.+?)\]\}\}")


class Strings(yaml.SafeLoader):
    """Reads every scalar as text, as GoCD does."""


Strings.yaml_implicit_resolvers = {
    "<": [("tag:yaml.org,2002:merge", re.compile("^<<$"))],
}


class RefusedError(Exception):
    """The server would not schedule the pipeline, with the status of its answer."""


class AgentDiedError(Exception):
    """The agent is gone in the middle of a task: nobody runs the rest of the job."""


def never() -> bool:
    """Nobody cancels, no agent dies."""
    return False


@dataclass
class Ran:
    """What became of a run.

    Attributes:
        pipeline: its name.
        trigger: the variables it was started with.
        stages: "passed", "failed" or "cancelled" by stage; a stage after a failed one, or after a
            manual one that nobody started, is not there.
        log: what the tasks of each job printed, by stage/job.
        artifacts: where the jobs' artifacts are, as <stage>/<job>/...
    """

    pipeline: str
    artifacts: Path
    trigger: Mapping[str, str]
    stages: dict[str, str] = field(default_factory=dict)
    log: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Server:
    """A GoCD server for the pipelines of one file, and its agents.

    Attributes:
        config: the file.
        repository: what the git material is cloned from.
        folder: where agents work and artifacts are kept.
        agent: environment variables of the agents' own.
        secrets: by configuration and key.
        settle: what an agent does with a fresh clone.
        runs: the newest run of each pipeline, which others fetch from.
    """

    config: Path
    repository: Path
    folder: Path
    agent: Mapping[str, str]
    secrets: Mapping[tuple[str, str], str]
    settle: Callable[[Path], None]
    runs: dict[str, Ran] = field(default_factory=dict)
    _locks: dict[str, threading.Lock] = field(default_factory=dict)

    @property
    def pipelines(self) -> Mapping[str, Mapping]:
        """What the file says, by pipeline."""
        return yaml.load(self.config.read_text(encoding="utf-8"), Strings)["pipelines"]

    def run(self, name: str, **trigger: str) -> Ran:
        """Run a pipeline as its schedule API would be asked to, with these variables.

        It ends before a stage that is started by hand.

        Raises:
            RefusedError: a variable is not declared anywhere in the pipeline, or it is locked.
        """
        pipeline = self.pipelines[name]
        declared = {variable for scope in _scopes(pipeline) for variable in _variables(scope)}
        for variable in trigger.keys() - declared:
            raise RefusedError(f"422 Variable '{variable}' has not been configured for '{name}'")
        number = len([*self.folder.glob(f"{name}-*")]) + 1
        ran = Ran(name, self.folder / f"{name}-{number}" / "artifacts", trigger)
        (first, *_) = _stages(pipeline)
        self._go(ran, first, never, never)
        return ran

    def start(
        self,
        ran: Ran,
        stage: str,
        roles: tuple[str, ...] = (),
        cancel: Callable[[], bool] = never,
        die: Callable[[], bool] = never,
    ) -> None:
        """Start a stage of a run by hand, for the first time or again; the ones behind it follow.

        Args:
            ran: the run; what becomes of the stages is written there.
            stage: its name.
            roles: those of who starts it.
            cancel: looked at while a task runs: whether somebody cancels the stage.
            die: looked at while a task runs: whether the agent dies.

        Raises:
            RefusedError: they may not, the stage before has failed, or the pipeline is locked.
            AgentDiedError: `die` said so.
        """
        stages = _stages(self.pipelines[ran.pipeline])
        approval = stages[stage].get("approval", {})
        before = [*stages][: [*stages].index(stage)]
        if isinstance(approval, Mapping):
            if approval.get("roles") and not {*approval["roles"]} & {*roles}:
                raise RefusedError(f"403 only {approval['roles']} may start {stage}")
            failed = [name for name in before if ran.stages.get(name) != "passed"]
            if approval.get("allow_only_on_success") == "true" and failed:
                raise RefusedError(f"406 Cannot schedule {stage} as {failed[0]} has Failed!")
        self._go(ran, stage, cancel, die)

    def downstream(self, ran: Ran) -> list[str]:
        """The pipelines that start by themselves because a stage of this run has passed."""
        return [
            name
            for name, pipeline in self.pipelines.items()
            for material in pipeline["materials"].values()
            if material.get("pipeline") == ran.pipeline
            and ran.stages.get(material["stage"]) == "passed"
        ]

    def _go(
        self, ran: Ran, first: str, cancel: Callable[[], bool], die: Callable[[], bool]
    ) -> None:
        """Run a stage and those behind it, until one fails or has to be started by hand."""
        pipeline = self.pipelines[ran.pipeline]
        lock = self._locks.setdefault(ran.pipeline, threading.Lock())
        is_locked = pipeline.get("lock_behavior") == "unlockWhenFinished"
        if is_locked and not lock.acquire(blocking=False):
            raise RefusedError(f"409 Pipeline {ran.pipeline} is locked")
        try:
            self.runs[ran.pipeline] = ran
            stages = _stages(pipeline)
            for title in [*stages][[*stages].index(first) :]:
                body = stages[title]
                if title != first and _is_manual(body):
                    return
                results = [
                    _Job(self, pipeline, title, body, job, ran, cancel, die).run()
                    for job in body["jobs"]
                ]
                bad = [result for result in results if result != "passed"]
                ran.stages[title] = bad[0] if bad else "passed"
                if bad:
                    return
        finally:
            if is_locked:
                lock.release()


class _Job:
    """One job on an agent that has never seen this pipeline."""

    def __init__(
        self,
        server: Server,
        config: Mapping,
        stage: str,
        body: Mapping,
        name: str,
        ran: Ran,
        cancel: Callable[[], bool],
        die: Callable[[], bool],
    ) -> None:
        self._server, self._ran, self._stage, self._name = server, ran, stage, name
        self._cancel, self._die = cancel, die
        self._job = body["jobs"][name]
        agents = ran.artifacts.parent / "agents" / stage
        number = len([*agents.glob(f"{name}-*")]) + 1
        self._folder = agents / f"{name}-{number}" / ran.pipeline
        self._key = f"{stage}/{name}"
        scopes = {}
        for scope in (config, body, self._job):
            scopes |= _variables(scope)
        # Those of the trigger win, and exist where they are declared.
        scopes |= {name: value for name, value in ran.trigger.items() if name in scopes}
        self._environment = {
            **server.agent,
            "GO_PIPELINE_NAME": ran.pipeline,
            "GO_STAGE_NAME": stage,
            "GO_JOB_NAME": name,
            **{variable: self._revealed(value) for variable, value in scopes.items()},
        }

    def run(self) -> str:
        subprocess.run(
            ["git", "clone", "--quiet", self._server.repository, self._folder], check=True
        )
        self._server.settle(self._folder)
        self._ran.log[self._key] = ""
        result = "passed"
        for task in self._job["tasks"]:
            ((kind, body),) = task.items()
            run_if = body.get("run_if", "passed")
            if run_if == "any" or run_if == result:
                done = {"exec": self._execute, "fetch": self._fetch}[kind](body)
                if done == "cancelled":
                    return done
                result = "failed" if "failed" in (done, result) else "passed"
        return result if self._publish() else "failed"

    def _execute(self, task: Mapping) -> str:
        log = self._folder.with_suffix(".log")
        with log.open("w") as output:
            process = subprocess.Popen(
                [task["command"], *task.get("arguments", [])],
                cwd=self._folder / task.get("working_directory", ""),
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            result = self._watch(process)
        self._say(log.read_text(errors="replace"))
        if result == "cancelled" and "on_cancel" in task:
            ((_, rest),) = task["on_cancel"].items()
            self._cancel = never
            self._execute(rest)
        return result

    def _watch(self, process: subprocess.Popen) -> str:
        """Wait for a task; it is killed where somebody cancels it or the agent dies."""
        while process.poll() is None:
            ended = next((how for how in ("cancel", "die") if getattr(self, f"_{how}")()), None)
            if ended:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            if ended == "die":
                raise AgentDiedError(self._key)
            if ended == "cancel":
                return "cancelled"
            time.sleep(0.02)  # between two looks
        return "failed" if process.returncode else "passed"

    def _fetch(self, task: Mapping) -> str:
        runs = self._server.runs
        ran = runs[task["pipeline"]] if "pipeline" in task else self._ran
        source = ran.artifacts / task["stage"] / task["job"] / task["source"]
        target = self._folder / task.get("destination", "") / source.name
        if not source.exists():
            self._say(f"{source} is no artifact")
            return "failed"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target) if source.is_file() else shutil.copytree(source, target)
        return "passed"

    def _publish(self) -> bool:
        """Keep the artifacts, of a failed job too; without its `build` artifacts a job fails."""
        whole = True
        for artifact in self._job.get("artifacts", []):
            ((kind, body),) = artifact.items()
            source = self._folder / body["source"]
            target = self._ran.artifacts / self._stage / self._name / body.get("destination", "")
            if not source.exists():
                self._say(f"{body['source']} cannot be published")
                whole &= kind != "build"
                continue
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target) if source.is_file() else shutil.copytree(
                source, target / source.name
            )
        return whole

    def _say(self, text: str) -> None:
        self._ran.log[self._key] += text

    def _revealed(self, value: str) -> str:
        return SECRET.sub(lambda found: self._server.secrets[found[1], found[2]], value)


def _stages(pipeline: Mapping) -> dict[str, Mapping]:
    return {name: body for stage in pipeline["stages"] for name, body in stage.items()}


def _is_manual(stage: Mapping) -> bool:
    approval = stage.get("approval", "success")
    return (approval.get("type") if isinstance(approval, Mapping) else approval) == "manual"


def _scopes(pipeline: Mapping) -> Iterator[Mapping]:
    """Every place that declares variables."""
    yield pipeline
    for body in _stages(pipeline).values():
        yield body
        yield from body["jobs"].values()


def _variables(scope: Mapping) -> dict[str, str]:
    return scope.get("environment_variables", {})
