"""The story once, in a minute: traffic, drift, alert, one training, a new challenger, recovery.

With the real server, Prometheus, Alertmanager and receiver, at the fast pace (local_config.py).
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .. import children, project, registry
from ..errors import UserError
from ..pipeline import local
from ..settings import ROOT, Settings
from ..store import connect
from . import stack as stacks
from .local_config import Ports
from .retrain_backends import Local
from .traffic import RATE, Traffic

ALERT = "ModelFeatureDrift"
WINDOW = 10.0  # seconds: what an hour becomes at the fast pace
ROWS = 300  # the alert looks at no fewer
SETTLED = 5.0  # seconds after the training in which no second one may start


@dataclass
class Story:
    """What is told, with the time since the beginning of a chapter."""

    start: float = 0.0

    def chapter(self, text: str) -> None:
        """Begin a chapter."""
        self.start = time.monotonic()
        print(f"\n{text}", flush=True)

    def say(self, text: str) -> None:
        """Tell what happened."""
        print(f"  {time.monotonic() - self.start:5.1f} s  {text}", flush=True)

    def wait(self, condition: Callable[[], object], what: str, seconds: float) -> float:
        """Wait until something holds; returns the seconds since the chapter began.

        Raises:
            UserError: it does not hold in time.
        """
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise UserError(f"not within {seconds:.0f} s: {what}")
            time.sleep(0.2)  # between two looks
        self.say(what)
        return time.monotonic() - self.start


def run(env: Settings) -> int:
    """Play it; returns the exit code.

    Raises:
        UserError: a step did not come about.
    """
    began = time.monotonic()
    story = Story()
    story.chapter(f"1/6 {project.NAME}: a champion, watched")
    version = _champion(env, story)
    folder = ROOT / "build" / "loop"
    shutil.rmtree(folder, ignore_errors=True)
    ports = Ports(*children.free_ports(6))
    with stacks.running(env, ports, fast=True, folder=folder, state=folder) as stack:
        story.say(
            f"version {version} is served; Prometheus http://127.0.0.1:{ports.prometheus}/alerts"
        )
        with Traffic(env, ports.serve).sent() as traffic:
            figures = _play(env, story, stack, traffic, Local(folder))
        picture = _draw(stack, folder, time.monotonic() - began)
    story.chapter("The loop is closed")
    for name, value in figures.items():
        print(f"  {name:<28} {value}")
    print(f"  {'all of it':<28} {time.monotonic() - began:.0f} s")
    print(f"  {'the dashboard, drawn':<28} {picture}; logs are beside it")
    return 0


def _play(
    env: Settings, story: Story, stack: stacks.Stack, traffic: Traffic, trainings: Local
) -> dict[str, object]:
    before = _challenger(env)

    story.chapter(f"2/6 clean traffic, {RATE:.0f} requests a second")
    story.wait(lambda: _rows(stack) >= ROWS, f"Prometheus has seen {ROWS} rows", 60)
    story.wait(lambda: time.monotonic() - story.start > 1.5 * WINDOW, "a window is full", 60)
    _, drift = _worst(stack)
    story.say(f"the largest drift of any input is {drift:.2f}; {ALERT} begins at 0.2")
    if stack.firing(ALERT):
        raise UserError(f"{ALERT} fires on clean traffic")

    story.chapter(f"3/6 drifted traffic: only large values of {traffic.feature}")
    traffic.drifted = True
    fired = story.wait(lambda: stack.firing(ALERT), f"{ALERT} fires", 30)
    feature, drift = _worst(stack)
    story.say(f"the drift of {feature} is {drift:.2f}")

    story.chapter("4/6 Alertmanager asks the receiver for a training")
    story.wait(lambda: _started(stack) == 1, "`make train` has been started", 30)
    trained = story.wait(lambda: _challenger(env) != before, "a new version is @challenger", 300)
    version = _challenger(env)
    story.wait(lambda: not trainings.busy(), "the training has ended", 60)

    story.chapter("5/6 it goes on drifting: no second training")
    story.wait(lambda: time.monotonic() - story.start > SETTLED, "some notifications later", 60)
    started = _started(stack)
    story.say(f"{started:.0f} training; notifications by outcome: {_outcomes(stack)}")
    if started != 1:
        raise UserError(f"{started:.0f} trainings were started, not one")

    story.chapter("6/6 clean traffic again")
    traffic.drifted = False
    resolved = story.wait(lambda: not stack.firing(ALERT), f"{ALERT} has resolved", 60)
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
    script = ROOT / "monitoring" / "grafana" / "draw.py"
    command = [sys.executable, script, url, picture, "--seconds", f"{seconds:.0f}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return picture


def _champion(env: Settings, story: Story) -> str:
    """The champion's version, in the model folder; trained first where there is none."""
    if registry.find(connect(env), registry.CHAMPION) is None:
        story.say("there is no champion yet: training one")
        if not local.run().decision.passed:
            raise UserError("the gate rejected the best candidate, so there is nothing to watch")
        registry.promote(env)
    return registry.fetch(env, registry.CHAMPION, env.model_dir).version


def _challenger(env: Settings) -> str | None:
    found = registry.find(connect(env), registry.CHALLENGER)
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
    """What the receiver has done, by outcome."""
    found = stack.query("retrain_requests_total > 0")
    return {labels["outcome"]: value for labels, value in found}
