"""The state that a release leaves: complete, interrupted, repeated, or beside another one."""

import itertools
import threading
from collections.abc import Callable
from contextlib import suppress

import pytest

from modelloop import Project
from modelloop.contract.contract import Contract
from modelloop.errors import UserError
from modelloop.registry import versions
from modelloop.release import state
from modelloop.release.plan import Plan
from modelloop.release.release import DryRunError, Release
from modelloop.release.watch import Measured
from release_parts import Registry, model, package

GOOD = Measured(requests=1000, errors=0, latency=0.02, drift=0.01)


class Interrupted(BaseException):
    """The end of the process at this point: no code handles it."""


class Memory:
    """A target in memory, with a compare-and-set like that of Kubernetes."""

    name = "memory"
    most_mirrored = 50

    def __init__(self) -> None:
        self.state: state.State | None = None
        self.seen: list[state.State | None] = []
        self.measured: dict[str, Measured] = {}
        self.wrong: set[str] = set()
        self.unready: set[str] = set()
        self.touched: Callable[[str], None] = lambda _: None

    def prepare(self, package: str) -> None:
        self.touched("prepare")

    def read(self) -> state.State | None:
        self.touched("read")
        return self.state

    def write(self, before: state.State | None, after: state.State | None) -> None:
        self.touched("write")
        if self.state != before:
            raise state.ConflictError(f"somebody else changed it: {self.state}")
        self.state = after
        self.seen.append(after)
        self.touched("written")

    def difference(self, after: state.State | None) -> str:
        return f"-{self.state}\n+{after}\n"

    def wait(self, version: str) -> None:
        if version in self.unready:
            raise state.ReleaseError(f"version {version} is not ready")

    def prove(self, contract: Contract) -> None:
        if contract.version in self.wrong:
            raise state.ReleaseError(f"golden row 0 of version {contract.version} differs")

    def measure(self, version: str, seconds: float) -> Measured:
        return self.measured.get(version, GOOD)

    @property
    def traffic(self) -> list[dict[str, int]]:
        """Per cent of the requests by version, of each write in order."""
        return [
            {d.version: d.traffic for d in after.deployed if not d.shadow} if after else {}
            for after in self.seen
        ]


@pytest.fixture
def target() -> Memory:
    return Memory()


@pytest.fixture
def release(registered: Registry, target: Memory, plan: Plan) -> Release:
    return Release(registered.project, target, plan, report=lambda _: None)


@pytest.fixture
def second(release: Release, registered: Registry, target: Memory) -> Release:
    """Version 1 is served; version 2 is the challenger."""
    registered.set(champion="1", challenger="2")
    target.state = state.served("1", package("1"))
    return release


def test_the_first_release_gets_everything_at_once_and_is_the_champion(
    release: Release, registered: Registry, target: Memory
):
    registered.set(challenger="1")
    release.canary(model("1"))
    assert registered.aliases == {"challenger": "1"}
    release.promote()
    assert target.traffic == [{"1": 100}, {"1": 100}, {"1": 100}]
    assert target.state == state.served("1", package("1"))
    assert registered.aliases == {"challenger": "1", "champion": "1"}


def test_a_canary_gets_more_and_more_and_is_promoted(
    second: Release, registered: Registry, target: Memory
):
    second.canary(model("2"))
    shares = [shares["2"] for shares in target.traffic]
    assert shares == [0, 5, 25, 50, 100, 100]
    assert registered.aliases["champion"] == "1"
    second.promote(model("2"))
    assert target.state == state.served("2", package("2"))
    assert registered.aliases == {"challenger": "2", "champion": "2", "previous": "1"}


def test_a_canary_with_too_little_traffic_is_not_promoted(second: Release, target: Memory):
    target.measured["2"] = Measured(requests=3, errors=0, latency=0.01, drift=0.0)
    with pytest.raises(state.ReleaseError, match="too little traffic to judge version 2: tr"):
        second.canary(model("2"))
    with pytest.raises(state.ReleaseError, match="has not held yet"):
        second.promote(model("2"))
    assert target.traffic[-1] == {"1": 95, "2": 5}


def test_a_canary_with_too_little_traffic_can_be_continued(second: Release, target: Memory):
    target.measured["2"] = Measured(requests=3, errors=0, latency=0.01, drift=0.0)
    with pytest.raises(state.ReleaseError):
        second.canary(model("2"))
    target.measured["2"] = GOOD
    second.canary(model("2"))
    assert target.state.phase is state.Phase.HELD


@pytest.mark.parametrize(
    ("measured", "message"),
    [
        (Measured(1000, 30, 0.02, 0.01), "errors: 3.00% of the requests failed"),
        (Measured(1000, 0, 0.2, 0.01), "latency: 95 % of the answers within 200 ms"),
        (Measured(1000, 0, 0.02, 0.5), "drift: its predictions differ"),
    ],
)
def test_a_canary_that_fails_a_step_gets_no_requests_any_more(
    second: Release, registered: Registry, target: Memory, measured: Measured, message: str
):
    target.measured["2"] = measured
    with pytest.raises(state.ReleaseError, match="version 2 does badly") as raised:
        second.canary(model("2"))
    assert message in str(raised.value)
    assert target.traffic[-1] == {"1": 100, "2": 0}
    assert registered.tags("2")["canary"].startswith("failed: ")
    second.rollback(model("2"))
    assert target.state == state.served("1", package("1"))
    assert registered.aliases == {"challenger": "2", "champion": "1"}


def test_a_version_with_wrong_predictions_gets_no_request_at_all(second: Release, target: Memory):
    target.wrong.add("2")
    with pytest.raises(state.ReleaseError, match="golden row"):
        second.canary(model("2"))
    assert target.traffic == [{"1": 100, "2": 0}]


def test_a_shadow_gets_copies_until_it_is_promoted(
    second: Release, registered: Registry, target: Memory, plan: Plan
):
    shadow = plan.model_copy(update={"strategy": "shadow"})
    Release(registered.project, target, shadow, report=lambda _: None).canary(model("2"))
    assert target.traffic[-1] == {"1": 100}
    assert target.state.find("2").shadow
    assert target.state.find("2").traffic == 50
    second.promote()
    assert target.state == state.served("2", package("2"))


def test_only_the_challenger_is_released(second: Release, registered: Registry, target: Memory):
    registered.set(champion="1", challenger="3")
    with pytest.raises(state.ReleaseError, match=r"version 2 is not @challenger \(version 3 is\)"):
        second.canary(model("2"))
    assert target.seen == []


def test_a_version_that_was_rolled_back_is_not_released_again(second: Release, target: Memory):
    second.canary(model("2"))
    second.promote()
    second.rollback()
    with pytest.raises(state.ReleaseError, match="version 2 was rolled back"):
        second.canary(model("2"))


def test_a_second_release_waits_for_the_first(
    second: Release, registered: Registry, target: Memory
):
    second.canary(model("2"))
    registered.set(champion="1", challenger="3")
    with pytest.raises(state.ReleaseError, match="another release is under way"):
        second.canary(model("3"))


def test_a_rollback_starts_the_previous_champion_before_it_gets_traffic(
    second: Release, registered: Registry, target: Memory
):
    second.canary(model("2"))
    second.promote()
    second.rollback()
    assert target.traffic[-2:] == [{"2": 100, "1": 0}, {"1": 100}]
    assert registered.aliases == {"challenger": "2", "champion": "1"}
    assert registered.tags("2")[versions.WITHDRAWN] == "true"
    with pytest.raises(state.ReleaseError, match="no @previous version"):
        second.rollback()


def test_a_rollback_to_a_version_that_does_not_start_changes_nothing(
    second: Release, registered: Registry, target: Memory
):
    second.canary(model("2"))
    second.promote()
    target.unready.add("1")
    with pytest.raises(state.ReleaseError, match="not ready"):
        second.rollback()
    assert target.state == state.served("2", package("2"))
    assert registered.aliases["champion"] == "2"


def test_a_first_release_that_is_rolled_back_leaves_nothing(
    release: Release, registered: Registry, target: Memory
):
    registered.set(challenger="1")
    release.canary(model("1"))
    release.rollback()
    assert target.state is None
    assert registered.aliases == {"challenger": "1"}


def test_ci_rolls_back_only_its_own_release(second: Release, registered: Registry, target: Memory):
    """The task for failures also runs where the canary was refused, or had passed."""
    second.rollback(model("2"))
    second.canary(model("2"))
    second.rollback(model("3"))
    second.promote(model("2"))
    second.rollback(model("2"))
    assert target.state == state.served("2", package("2"))
    assert registered.aliases["champion"] == "2"


def test_a_version_without_a_package_is_not_released(second: Release, registered: Registry):
    with pytest.raises(state.ReleaseError, match="`make package`"):
        second.canary(model("2").model_copy(update={"package": ""}))


def test_a_dry_run_shows_the_first_change_and_makes_none(
    second: Release, registered: Registry, target: Memory, plan: Plan
):
    lines: list[str] = []
    dry = Release(registered.project, target, plan, dry_run=True, report=lines.append)
    with pytest.raises(DryRunError):
        dry.canary(model("2"))
    second.canary(model("2"))
    target.seen.clear()
    for verb in (dry.promote, dry.rollback):
        with pytest.raises(DryRunError):
            verb()
    assert target.seen == []
    assert len(lines) == 3
    assert all("+" in line for line in lines)


def test_staging_serves_one_version_and_moves_no_alias(
    release: Release, registered: Registry, target: Memory
):
    registered.set(champion="1", challenger="2")
    for version in ("1", "2", "2"):
        release.deploy(model(version))
    assert target.state == state.served("2", package("2"))
    assert registered.aliases == {"champion": "1", "challenger": "2"}


# Every verb with a state in which it may be called.
STARTS = {
    "canary": lambda r: None,
    "promote": lambda r: r.canary(model("2")),
    "rollback a canary": lambda r: r.canary(model("2")),
    "rollback a champion": lambda r: (r.canary(model("2")), r.promote()),
}
VERBS = {
    "canary": lambda r: r.canary(model("2")),
    "promote": lambda r: r.promote(),
    "rollback a canary": lambda r: r.rollback(),
    "rollback a champion": lambda r: r.rollback(),
}


def consistent(registered: Registry, target: Memory) -> bool:
    """Whether there is one champion, and it is served alone."""
    champion = registered.aliases["champion"]
    return target.state == state.served(champion, package(champion), target.state.withdrawn)


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_that_was_interrupted_anywhere_can_be_repeated_or_rolled_back(
    second: Release,
    registered: Registry,
    target: Memory,
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
):
    follow = versions.follow

    def move(project: Project, champion: str, withdrawn: str) -> bool:
        target.touched("move")
        moved = follow(project, champion, withdrawn)
        target.touched("moved")
        return moved

    monkeypatch.setattr(versions, "follow", move)

    STARTS[verb](second)
    before, registry_before = target.state, registered.snapshot()

    def start() -> None:
        target.state = before
        registered.restore(registry_before)

    def interrupt(at: int) -> bool:
        """Run the verb up to a point; returns whether it came that far."""
        left = itertools.count(at, -1)

        def touched(_: str) -> None:
            if next(left) == 0:
                raise Interrupted

        target.touched = touched
        try:
            VERBS[verb](second)
        except Interrupted:
            return True
        finally:
            target.touched = lambda _: None
        return False

    points = 0
    while interrupt(points):
        assert registered.aliases["champion"] in ("1", "2")
        for then in ("again", "rollback"):
            if then == "rollback":
                start()
                assert interrupt(points)
            following = VERBS[verb] if then == "again" else lambda r: r.rollback()
            with suppress(state.ReleaseError):  # nothing was left to do
                following(second)
            second.settle()
            if target.state.phase in (state.Phase.CANARY, state.Phase.HELD):
                second.rollback()
            assert consistent(registered, target), (points, then, target.state)
        points += 1
        start()
    assert points > 2


class Turns:
    """Runs threads one at a time, in a given order: each waits for its turn at every step."""

    def __init__(self, order: tuple[int, ...], count: int) -> None:
        self._order = [*order]
        self._alive = {*range(count)}
        self._waiting: set[int] = set()
        self._changed = threading.Condition()
        self._turn: int | None = None

    def wait(self, who: int) -> None:
        with self._changed:
            self._waiting.add(who)
            self._give()
            while self._turn != who:
                assert self._changed.wait(30)
            self._turn = None
            self._waiting.remove(who)

    def end(self, who: int) -> None:
        with self._changed:
            self._alive.remove(who)
            self._give()

    def _give(self) -> None:
        """Once all threads wait, the next one runs."""
        if self._turn is None and self._alive and self._waiting == self._alive:
            wanted = self._order.pop(0) if self._order else min(self._alive)
            self._turn = wanted if wanted in self._alive else min(self._alive)
            self._changed.notify_all()


PAIRS = {
    "two promotions": ("promote", ("promote", "promote")),
    "promotion and rollback of the canary": ("promote", ("promote", "rollback a canary")),
    "two rollbacks": ("rollback a champion", ("rollback a champion", "rollback a champion")),
    "canary and rollback": ("rollback a champion", ("rollback a champion", "canary")),
    "two canaries": ("canary", ("canary", "canary")),
}


@pytest.mark.slow
@pytest.mark.parametrize("pair", PAIRS)
def test_two_verbs_at_once_leave_one_champion_in_every_order(
    second: Release,
    registered: Registry,
    target: Memory,
    plan: Plan,
    monkeypatch: pytest.MonkeyPatch,
    pair: str,
):
    start, verbs = PAIRS[pair]
    follow = versions.follow
    local = threading.local()

    def touch(_: str) -> None:
        if turns := getattr(local, "turns", None):
            turns.wait(local.who)

    def move(project: Project, champion: str, withdrawn: str) -> bool:
        touch("move")
        return follow(project, champion, withdrawn)

    monkeypatch.setattr(versions, "follow", move)
    target.touched = touch
    quick = plan.model_copy(update={"steps": [100]})
    unexpected = []

    def run(who: int, turns: Turns) -> None:
        local.who, local.turns = who, turns
        try:
            VERBS[verbs[who]](Release(registered.project, target, quick, report=lambda _: None))
        except UserError:
            pass  # one of the two may come too late
        except Exception as error:
            unexpected.append(error)
        finally:
            turns.end(who)

    STARTS[start](second)
    if start == "rollback a champion" and "canary" in verbs:
        registered.set(champion="2", previous="1", challenger="2")
    before, registry_before = target.state, registered.snapshot()
    alike = verbs[0] == verbs[1]
    for order in itertools.product((0,) if alike else (0, 1), *[(0, 1)] * 4):
        target.state = before
        registered.restore(registry_before)
        turns = Turns(order, 2)
        threads = [threading.Thread(target=run, args=(who, turns)) for who in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        assert unexpected == [], order
        second.settle()
        if target.state.phase is not state.Phase.STABLE:
            second.rollback()
        assert consistent(registered, target), (order, target.state, registered.aliases)
