"""Run the training pipeline on this machine, with a line of progress per step."""

import builtins
import contextlib
import json
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelloop.contract.contract import Contract, Decision
from modelloop.errors import UserError
from modelloop.kubeflow import warm
from modelloop.kubeflow.warm import StepResult, WarmRunner
from modelloop.project import Project

LOG_LINES = 40  # of a failed step


@dataclass(frozen=True)
class Outcome:
    """The result of a training run.

    Attributes:
        contract: of the best candidate; it carries the version when it was registered.
        decision: of the gate.
        seconds: that the run took.
    """

    contract: Contract
    decision: Decision
    seconds: float


def run(project: Project, candidates: list[str] | None = None) -> Outcome:
    """Run the pipeline; prints progress and returns the gate's decision.

    Args:
        project: the repository.
        candidates: names of model.CANDIDATES; all of them by default.

    Raises:
        UserError: a step failed; its last output has been printed and its log is kept.
    """
    misfit = warm.misfit()
    if not misfit:
        warm.start_importing(project)
    from kfp import local

    from modelloop.kubeflow.cluster import forget_retries

    training = project.pipeline.training
    forget_retries(training.pipeline_spec)
    start = time.perf_counter()
    project.build.mkdir(exist_ok=True)
    root = Path(tempfile.mkdtemp(prefix="pipeline-", dir=project.build))
    arguments = {} if candidates is None else {"candidates": candidates}
    local.init(
        runner=local.SubprocessRunner(use_venv=False),
        pipeline_root=str(root / "artifacts"),
        workspace_root=str(root / "workspace"),
    )
    try:
        if misfit:
            print(
                f"warning: unknown kfp ({misfit}): its own, slower runner is used", file=sys.stderr
            )
            with warm.imports_inherited():
                training(**arguments)
        else:
            _run_warm(training, arguments, root)
    except RuntimeError as error:  # kfp's way to say that a step failed
        raise UserError(f"the pipeline failed; what it left is in {root}") from error
    except KeyboardInterrupt:
        _mark_killed(project, root)
        shutil.rmtree(root)
        raise
    contract = _find(root, "registered") or _find(root, "decided")
    if contract is None or contract.decision is None:
        raise UserError(f"no step has left the gate's decision; what they left is in {root}")
    shutil.rmtree(root)
    return Outcome(contract, contract.decision, time.perf_counter() - start)


def _run_warm(training: Callable[..., Any], arguments: dict[str, list[str]], root: Path) -> None:
    from kfp.local import subprocess_task_handler as handler

    stock = handler.run_local_subprocess
    handler.run_local_subprocess = runner = WarmRunner(root, _report)
    try:
        with (
            (root / "kfp.log").open("w") as log,
            _ended_by_signals(runner),
            _print_kept(),
            contextlib.redirect_stdout(log),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")  # kfp warns of settings that only a cluster reads
            training(**arguments)
    finally:
        runner.close()
        handler.run_local_subprocess = stock


def _report(step: StepResult) -> None:
    out = sys.__stdout__
    mark = "done  " if step.succeeded else "FAILED"
    print(f"  {mark} {step.name:<20} {step.seconds:6.1f} s", file=out, flush=True)
    if not step.succeeded:
        lines = step.log.read_text(encoding="utf-8", errors="replace").splitlines()
        at = next((i for i, line in enumerate(lines) if line.startswith("error: ")), None)
        shown = lines[at:] if at is not None else lines[-LOG_LINES:]
        print("\n".join(f"    {line}" for line in shown), file=out, flush=True)


@contextlib.contextmanager
def _ended_by_signals(runner: WarmRunner) -> Iterator[None]:
    """SIGTERM and Ctrl-C end the steps; kfp then ends by itself, as no other step starts.

    A handler that raised would interrupt kfp at any line: the exception can get lost in a
    destructor, or leave a lock held for which another thread waits.

    Raises:
        KeyboardInterrupt: at the end of the block, when there was a signal.
    """
    before = {
        s: signal.signal(s, lambda *_: runner.stop()) for s in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if runner.is_stopped():
            raise KeyboardInterrupt


@contextlib.contextmanager
def _print_kept() -> Iterator[None]:
    """Several threads of kfp patch `print` and may leave it patched."""
    before = builtins.print
    try:
        yield
    finally:
        builtins.print = before


def _mark_killed(project: Project, root: Path) -> None:
    """Say in MLflow that the run was ended by hand: the exit handler had no chance to."""
    for file in (root / "artifacts").rglob("ingest/executor_output.json"):
        made = json.loads(file.read_text(encoding="utf-8"))["artifacts"]["run"]["artifacts"]
        from modelloop.registry import runs

        runs.kill(project, made[0]["metadata"]["run_id"])


def _find(root: Path, name: str) -> Contract | None:
    found = sorted((root / "artifacts").rglob(f"{name}/contract.json"))
    return Contract.read(found[-1].parent) if found else None
