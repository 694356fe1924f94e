"""Run the steps of kfp.local from a warm process.

kfp.local starts a new Python per step, and nearly all of a short step is then the import of MLflow
and scikit-learn. Here every step still has a process of its own and runs kfp's own executor, but
is forked from one that has imported everything.

This replaces one private function of kfp, `kfp.local.subprocess_task_handler.run_local_subprocess`,
and ends the warm process with one of multiprocessing. `misfit` checks that both still have the
shape that we know; where not, kfp's own runner is used.
"""

import inspect
import json
import multiprocessing
import os
import re
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path

from modelloop.errors import UserError
from modelloop.project import Project

PRELOAD = [
    "modelloop.training.steps",
    "modelloop.registry.runs",
    "kfp.dsl.executor_main",
    "mlflow.sklearn",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store",
    "pyarrow.parquet",
    "pandera.pandas",
    "skl2onnx",
    "onnxruntime",
    "sklearn.ensemble",
]


@dataclass(frozen=True)
class StepResult:
    """One finished step.

    Attributes:
        name: of its component, with the loop item where it has one, such as "train forest".
        seconds: from its start to its end.
        succeeded: whether its process ended with exit code 0.
        log: the file that its output went to.
    """

    name: str
    seconds: float
    succeeded: bool
    log: Path


class WarmRunner:
    """Replaces kfp's function; kfp calls it in several threads for parallel steps."""

    def __init__(self, logs: Path, report: Callable[[StepResult], None]) -> None:
        """Prepare.

        Args:
            logs: the folder for the steps' logs.
            report: called when a step ends, unless `stop` ended it.
        """
        self._logs = logs
        self._report = report
        self._running: set[BaseProcess] = set()
        self._stopped = False
        self._lock = threading.RLock()  # a signal may come while this thread holds it
        self._context = multiprocessing.get_context("forkserver")

    def __call__(self, full_command: list[str], env_vars: dict[str, str] | None = None) -> int:
        """Run one step; returns its exit code, as kfp's own function does."""
        source, arguments = split_command(full_command)
        name = step_name(arguments)
        prefix = re.sub(r"[^\w.-]", "_", name) + "-"  # a candidate may have any name
        handle, log = tempfile.mkstemp(prefix=prefix, suffix=".log", dir=self._logs)
        os.close(handle)
        environment = {**os.environ, **(env_vars or {}), "_KFP_RUNTIME": "true"}
        start = time.perf_counter()
        process = self._context.Process(
            target=run_step, args=(source, arguments, environment, log, os.getcwd())
        )
        with self._lock:
            if self.is_stopped():
                return 1
            self._running.add(process)
            process.start()
            if self.is_stopped():  # by a signal while it started
                process.terminate()
        process.join()
        self._running.discard(process)
        seconds = time.perf_counter() - start
        if not self.is_stopped():
            self._report(StepResult(name, seconds, process.exitcode == 0, Path(log)))
        return process.exitcode or 0

    def is_stopped(self) -> bool:
        """Whether `stop` was called: no step is running, and none will start."""
        return self._stopped

    def stop(self) -> None:
        """End the steps that are running, and start no other."""
        with self._lock:
            self._stopped = True
            for process in list(self._running):
                if process.pid is not None:
                    process.terminate()

    def close(self) -> None:
        """End everything and wait for it."""
        self.stop()
        stop_forkserver = _stop_function()
        if stop_forkserver:
            stop_forkserver()


def start_importing(project: Project) -> None:
    """Start the warm process; it imports in the background, also the repository's modules."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOAD, f"{project.package}.tracking"])
    # As an executor, kfp imports only what that needs.
    with imports_inherited(), _variable("_KFP_RUNTIME", "true"):
        forkserver.ensure_running()


def misfit() -> str:
    """Why this kfp cannot be used warm; empty when it can."""
    try:
        from kfp.dsl import executor_main
        from kfp.local import subprocess_task_handler as handler

        parameters = list(inspect.signature(handler.run_local_subprocess).parameters)
        if parameters != ["full_command", "env_vars"]:
            return f"run_local_subprocess takes {parameters}"
        if not callable(executor_main.executor_main):
            return "kfp.dsl.executor_main has no function executor_main"
        if not _stop_function():
            return "multiprocessing.forkserver cannot be stopped"
    except (ImportError, AttributeError) as error:
        return str(error)
    return ""


@contextmanager
def imports_inherited() -> Iterator[None]:
    """Let Pythons that start in the block import all that this one can."""
    with _variable("PYTHONPATH", os.pathsep.join(filter(None, sys.path))):
        yield


@contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _stop_function() -> Callable[[], None] | None:
    """A private function of multiprocessing; it waits until the fork server has ended."""
    found = getattr(getattr(forkserver, "_forkserver", None), "_stop", None)
    return found if callable(found) else None


def split_command(full_command: list[str]) -> tuple[str, list[str]]:
    """Take a component's source and its executor's arguments out of kfp's shell command."""
    at = full_command.index("--executor_input")
    return full_command[at - 1], full_command[at:]


def step_name(arguments: list[str]) -> str:
    """The function of a step, with the candidate where it has one."""
    values = dict(zip(arguments[::2], arguments[1::2], strict=False))
    inputs = json.loads(values["--executor_input"]).get("inputs", {}).get("parameterValues", {})
    return " ".join(filter(None, [values["--function_to_execute"], inputs.get("candidate", "")]))


def run_step(
    source: str, arguments: list[str], environment: dict[str, str], log: str, folder: str
) -> None:
    """In the forked process: become what kfp's command would have started."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    out = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    with tempfile.TemporaryDirectory() as scratch:
        module = Path(scratch) / "ephemeral_component.py"
        module.write_text(source, encoding="utf-8")
        sys.argv = ["executor_main", "--component_module_path", str(module), *arguments]
        from kfp.dsl import executor_main

        try:
            executor_main.executor_main()
        except UserError as error:
            print(f"error: {error}", flush=True)
            sys.exit(1)
        finally:
            with suppress(ValueError):
                sys.stdout.flush()
