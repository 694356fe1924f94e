"""Runs a pipeline of a .gocd.yaml on this machine, by the rules that a GoCD server and agent keep.

A fresh clone for each job, nothing but artifacts from one job to the next, no shell, `run_if`,
variables from the widest scope to the narrowest and those of the trigger last, secrets from a
store. Not emulated: several runs of a job, time limits, cancelling, plugins.
"""

import re
import shutil
import subprocess
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


@dataclass
class Ran:
    """What became of a run.

    Attributes:
        stages: "passed" or "failed" by stage; a stage after a failed one is not there.
        log: what the tasks of each job printed, by stage/job.
        artifacts: where the jobs' artifacts are, as <stage>/<job>/...
    """

    artifacts: Path
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
    """

    config: Path
    repository: Path
    folder: Path
    agent: Mapping[str, str]
    secrets: Mapping[tuple[str, str], str]
    settle: Callable[[Path], None]

    def run(self, name: str, **trigger: str) -> Ran:
        """Run a pipeline as its schedule API would be asked to, with these variables.

        Raises:
            RefusedError: a variable is not declared anywhere in the pipeline.
        """
        pipeline = yaml.load(self.config.read_text(encoding="utf-8"), Strings)["pipelines"][name]
        declared = {variable for scope in _scopes(pipeline) for variable in _variables(scope)}
        for variable in trigger.keys() - declared:
            raise RefusedError(f"422 Variable '{variable}' has not been configured for '{name}'")
        number = len([*self.folder.glob(f"{name}-*")]) + 1
        ran = Ran(self.folder / f"{name}-{number}" / "artifacts")
        for stage in pipeline["stages"]:
            ((title, body),) = stage.items()
            passed = True
            for job in body["jobs"]:
                passed &= _Job(self, name, pipeline, title, body, job, trigger, ran).run()
            ran.stages[title] = "passed" if passed else "failed"
            if not passed:
                break
        return ran


class _Job:
    """One job on an agent that has never seen this pipeline."""

    def __init__(
        self,
        server: Server,
        pipeline: str,
        config: Mapping,
        stage: str,
        body: Mapping,
        name: str,
        trigger: Mapping[str, str],
        ran: Ran,
    ) -> None:
        self._server, self._ran, self._stage, self._name = server, ran, stage, name
        self._job = body["jobs"][name]
        self._folder = ran.artifacts.parent / "agents" / stage / name / pipeline
        self._key = f"{stage}/{name}"
        scopes = {}
        for scope in (config, body, self._job):
            scopes |= _variables(scope)
        # Those of the trigger win, and exist where they are declared.
        scopes |= {name: value for name, value in trigger.items() if name in scopes}
        self._environment = {
            **server.agent,
            "GO_PIPELINE_NAME": pipeline,
            "GO_STAGE_NAME": stage,
            "GO_JOB_NAME": name,
            **{variable: self._revealed(value) for variable, value in scopes.items()},
        }

    def run(self) -> bool:
        subprocess.run(
            ["git", "clone", "--quiet", self._server.repository, self._folder], check=True
        )
        self._server.settle(self._folder)
        self._ran.log[self._key] = ""
        passed = True
        for task in self._job["tasks"]:
            ((kind, body),) = task.items()
            run_if = body.get("run_if", "passed")
            if run_if == "any" or (run_if == "passed") == passed:
                passed &= {"exec": self._execute, "fetch": self._fetch}[kind](body)
        return self._publish() and passed

    def _execute(self, task: Mapping) -> bool:
        done = subprocess.run(
            [task["command"], *task.get("arguments", [])],
            cwd=self._folder / task.get("working_directory", ""),
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._say(done.stdout)
        return done.returncode == 0

    def _fetch(self, task: Mapping) -> bool:
        source = self._ran.artifacts / task["stage"] / task["job"] / task["source"]
        target = self._folder / task.get("destination", "") / source.name
        if not source.exists():
            self._say(f"{source} is no artifact")
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target) if source.is_file() else shutil.copytree(source, target)
        return True

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


def _scopes(pipeline: Mapping) -> Iterator[Mapping]:
    """Every place that declares variables."""
    yield pipeline
    for stage in pipeline["stages"]:
        for body in stage.values():
            yield body
            yield from body["jobs"].values()


def _variables(scope: Mapping) -> dict[str, str]:
    return scope.get("environment_variables", {})
