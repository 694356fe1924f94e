"""The loop once, in a minute: traffic, drift, alert, one training, a new challenger, recovery.

With the real server, Prometheus, Alertmanager and receiver, at the fast pace (local_config.py).
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from modelloop import subprocesses
from modelloop.errors import UserError
from modelloop.kubeflow import local
from modelloop.laptop import stack as stacks
from modelloop.laptop.local_config import Ports
from modelloop.laptop.traffic import RATE, Traffic
from modelloop.project import Project
from modelloop.registry import versions
from modelloop.registry.store import connect
from modelloop.retrain.backends import Local

ALERT = "ModelFeatureDrift"
WINDOW = 10.0  # seconds: what an hour becomes at the fast pace
ROWS = 300  # in a window, below which the alert does not fire
SETTLED = 5.0  # seconds after the training in which no second one may start


@dataclass
class Progress:
    """Prints what happens, with the seconds since a step began."""

    start: float = 0.0

    def step(self, text: str) -> None:
        """Begin a step."""
        self.start = time.monotonic()
        print(f"\n{text}", flush=True)

    def show(self, text: str) -> None:
        """Print what happened."""
        print(f"  {time.monotonic() - self.start:5.1f} s  {text}", flush=True)

    def wait(self, condition: Callable[[], object], what: str, seconds: float) -> float:
        """Wait until something holds; returns the seconds since the step began.

        Raises:
            UserError: it does not hold in time.
        """
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise UserError(f"not within {seconds:.0f} s: {what}")
            time.sleep(0.2)  # between two checks
        self.show(what)
        return time.monotonic() - self.start


def run(project: Project) -> None:
    """Run the loop, print what happens, and end everything that was started.

    Raises:
        UserError: a step did not happen in time, or there is nothing to watch.
    """
    began = time.monotonic()
    progress = Progress()
    progress.step(f"1/6 {project.name}: a champion, watched")
    version = _champion(project, progress)
    folder = project.build / "loop"
    shutil.rmtree(folder, ignore_errors=True)
    ports = Ports(*subprocesses.free_ports(6))
    with stacks.running(project, ports, fast=True, folder=folder, state=folder) as stack:
        progress.show(
            f"version {version} is served; Prometheus http://127.0.0.1:{ports.prometheus}/alerts"
        )
        with Traffic(project, ports.serve).sent() as traffic:
            figures = _run_steps(project, progress, stack, traffic, Local(folder, project.root))
        picture = _draw(stack, folder, time.monotonic() - began)
    progress.step("The loop is closed")
    for name, value in figures.items():
        print(f"  {name:<28} {value}")
    print(f"  {'all of it':<28} {time.monotonic() - began:.0f} s")
    print(f"  {'what happened, drawn':<28} {picture}; logs are beside it")


def _run_steps(
    project: Project, progress: Progress, stack: stacks.Stack, traffic: Traffic, trainings: Local
) -> dict[str, object]:
    before = _challenger(project)

    progress.step(f"2/6 clean traffic, {RATE:.0f} requests a second")
    progress.wait(lambda: _rows(stack) >= ROWS, f"Prometheus has seen {ROWS} rows", 60)
    progress.wait(lambda: time.monotonic() - progress.start > 1.5 * WINDOW, "a window is full", 60)
    _, drift = _worst(stack)
    progress.show(f"the largest drift of any input is {drift:.2f}; {ALERT} begins at 0.2")
    if stack.firing(ALERT):
        raise UserError(f"{ALERT} fires on clean traffic")

    progress.step(f"3/6 drifted traffic: only large values of {traffic.feature}")
    traffic.drifted = True
    fired = progress.wait(lambda: stack.firing(ALERT), f"{ALERT} fires", 30)
    feature, drift = _worst(stack)
    progress.show(f"the drift of {feature} is {drift:.2f}")

    progress.step("4/6 Alertmanager asks the receiver for a training")
    progress.wait(lambda: _started(stack) == 1, "`make train` has been started", 30)
    trained = progress.wait(
        lambda: _challenger(project) != before, "a new version is @challenger", 300
    )
    version = _challenger(project)
    progress.wait(lambda: not trainings.busy(), "the training has ended", 60)

    progress.step("5/6 it goes on drifting: no second training")
    progress.wait(
        lambda: time.monotonic() - progress.start > SETTLED, "some notifications later", 60
    )
    started = _started(stack)
    progress.show(f"{started:.0f} training; notifications by outcome: {_outcomes(stack)}")
    if started != 1:
        raise UserError(f"{started:.0f} trainings were started, not one")

    progress.step("6/6 clean traffic again")
    traffic.drifted = False
    resolved = progress.wait(lambda: not stack.firing(ALERT), f"{ALERT} has resolved", 60)
    return {
        "drift to firing alert": f"{fired:.1f} s",
        "alert to new challenger": f"{trained:.1f} s",
        "clean traffic to resolved": f"{resolved:.1f} s",
        "trainings": f"{started:.0f}",
        "challenger": f"version {version}, before it {before or 'none'}; next: make promote",
        "requests answered": traffic.answered,
    }


def _draw(stack: stacks.Stack, folder: Path, seconds: float) -> Path:
    """A picture of the dashboard, as Grafana would show it."""
    picture = folder / "dashboard.png"
    url = f"http://127.0.0.1:{stack.ports.prometheus}"
    command = [
        sys.executable, "-m", "modelloop.monitoring.draw",
        url, str(picture), "--seconds", f"{seconds:.0f}",
    ]  # fmt: skip
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return picture


def _champion(project: Project, progress: Progress) -> str:
    """The champion's version, in the model folder; trained first where there is none."""
    if versions.find(project, connect(project), versions.CHAMPION) is None:
        progress.show("there is no champion yet: training one")
        if not local.run(project).decision.passed:
            raise UserError("the gate rejected the best candidate, so there is nothing to watch")
        versions.promote(project)
    return versions.fetch(project, versions.CHAMPION, project.settings.model_dir).version


def _challenger(project: Project) -> str | None:
    found = versions.find(project, connect(project), versions.CHALLENGER)
    return str(found.version) if found else None


def _rows(stack: stacks.Stack) -> float:
    return sum(value for _, value in stack.query("model_rows_total"))


def _worst(stack: stacks.Stack) -> tuple[str, float]:
    """The feature that drifts most, and how much."""
    found = stack.query("topk(1, model:feature_psi:1h)")
    return (found[0][0]["feature"], found[0][1]) if found else ("none", 0.0)


def _started(stack: stacks.Stack) -> float:
    return _outcomes(stack).get("started", 0)


def _outcomes(stack: stacks.Stack) -> dict[str, float]:
    """The receiver's decisions, by outcome."""
    found = stack.query("retrain_requests_total > 0")
    return {labels["outcome"]: value for labels, value in found}
