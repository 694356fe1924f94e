"""Run the steps of kfp.local from a warm process.

kfp.local starts a new Python per step, and nearly all of a short step is then the import of MLflow
and scikit-learn. Here every step still has a process of its own and runs kfp's own executor, but
is forked from one that has imported everything.

This replaces one private function of kfp, `kfp.local.subprocess_task_handler.run_local_subprocess`,
and ends the warm process with one of multiprocessing. `fits` says whether both still have the shape
that we know; where not, the stock runner is used.
"""

import inspect
import json
import multiprocessing
import multiprocessing.forkserver
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError

PRELOAD = [
    f"{__package__}.steps",
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
    """One finished step."""

    name: str  # with the loop item, such as "train forest"
    seconds: float
    succeeded: bool
    log: Path


class WarmRunner:
    """Takes the place of kfp's function, in the threads in which kfp runs parallel steps.

    Attributes:
        stopped: no step runs any more, and none will.
    """

    def __init__(self, logs: Path, report: Callable[[StepResult], None]) -> None:
        """Logs go into files under `logs`, `report` is called when a step ends."""
        self.logs = logs
        self.report = report
        self._running: set[multiprocessing.process.BaseProcess] = set()
        self.stopped = False
        self._lock = threading.RLock()  # a signal may come while this thread holds it
        self.context = multiprocessing.get_context("forkserver")

    @staticmethod
    def start_importing() -> None:
        """Start the warm process; it imports in the background."""
        runtime = os.environ.get("_KFP_RUNTIME")
        os.environ["_KFP_RUNTIME"] = "true"  # kfp then imports only what an executor needs
        try:
            multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOAD)
            multiprocessing.forkserver.ensure_running()
        finally:
            if runtime is None:
                del os.environ["_KFP_RUNTIME"]
            else:
                os.environ["_KFP_RUNTIME"] = runtime

    def __call__(self, full_command: list[str], env_vars: dict[str, str] | None = None) -> int:
        """Run one step; returns its exit code, as kfp's own function does."""
        source, arguments = split_command(full_command)
        name = step_name(arguments)
        handle, log = tempfile.mkstemp(prefix=f"{name}-", suffix=".log", dir=self.logs)
        os.close(handle)
        environment = {**os.environ, **(env_vars or {}), "_KFP_RUNTIME": "true"}
        start = time.perf_counter()
        process = self.context.Process(
            target=run_step, args=(source, arguments, environment, log, os.getcwd())
        )
        with self._lock:
            if self.stopped:
                return 1
            self._running.add(process)
            process.start()
            if self.stopped:  # by a signal while it started
                process.terminate()
        process.join()
        self._running.discard(process)
        seconds = time.perf_counter() - start
        if not self.stopped:
            self.report(StepResult(name, seconds, process.exitcode == 0, Path(log)))
        return process.exitcode or 0

    def stop(self) -> None:
        """End the steps that are at work, and start no other."""
        with self._lock:
            self.stopped = True
            for process in list(self._running):
                if process.pid is not None:
                    process.terminate()

    def close(self) -> None:
        """End everything and wait for it."""
        self.stop()
        multiprocessing.forkserver._forkserver._stop()


def fits() -> str:
    """Why this kfp cannot be used warm; empty when it can."""
    try:
        from kfp.dsl import executor_main
        from kfp.local import subprocess_task_handler as handler

        parameters = list(inspect.signature(handler.run_local_subprocess).parameters)
        if parameters != ["full_command", "env_vars"]:
            return f"run_local_subprocess takes {parameters}"
        if not callable(executor_main.executor_main):
            return "kfp.dsl.executor_main has no function executor_main"
        if not callable(multiprocessing.forkserver._forkserver._stop):
            return "multiprocessing.forkserver cannot be stopped"
    except (ImportError, AttributeError) as error:
        return str(error)
    return ""


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
