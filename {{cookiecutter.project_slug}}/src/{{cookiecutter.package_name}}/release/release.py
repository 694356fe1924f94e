"""The verbs of a release: package, staging, canary, promote, roll back.

What the target says is served is the truth; @champion in the registry follows it, last. So every
verb may break off anywhere, be repeated, or meet another one: what is there is gone on with.
"""

from collections.abc import Callable

from .. import registry
from ..errors import UserError
from ..model_reference import ModelReference
from ..settings import Settings
from . import state, watch
from .plan import Plan
from .state import Phase, ReleaseError, State
from .target import Target


class DryRunError(Exception):
    """The first change was shown, and nothing was changed."""


class Release:
    """Releases to one environment."""

    def __init__(
        self,
        settings: Settings,
        target: Target,
        plan: Plan,
        *,
        dry_run: bool = False,
        say: Callable[[str], None] = print,
    ) -> None:
        """With `dry_run` the first change is shown instead of made, and DryRunError raised."""
        self._settings = settings
        self._target = target
        self._plan = plan
        self._dry_run = dry_run
        self._say = say

    def deploy(self, model: ModelReference) -> None:
        """Serve a packaged model alone, and ask it its golden rows: what staging is for.

        Raises:
            ReleaseError: it does not start, or answers wrong.
        """
        after = state.served(model.version, _package_of(model))
        self._prepare(model)
        self._write(self._target.read(), after)
        self._try(model)

    def canary(self, model: ModelReference) -> None:
        """Give a packaged model more and more of the requests, as long as it does well.

        Raises:
            ReleaseError: it is not the challenger, another release is under way, it does not
                start, it did not do well (then it gets no requests), or nobody asked it.
        """
        self._check_challenger(model)
        now = self.settle()
        after = state.begin(now, model.version, _package_of(model))
        if after.phase is Phase.HELD:
            self._say(f"The canary has held: {after}. Next: make promote")
            return
        self._prepare(model)
        now = self._write(now, after)
        self._try(model)
        if not now.champion:
            self._say("The first release: there is nothing to hold it against.")
        elif self._plan.strategy == "shadow":
            most = min(self._plan.steps[-1], self._target.most_mirrored)
            now = self._step(now, state.mirror(now, most))
        else:
            got = now.find(model.version).traffic
            for traffic in [step for step in self._plan.steps if step >= got]:
                now = self._step(now, state.shift(now, traffic))
        now = self._write(now, state.held(now))
        registry.tag(self._settings, model.version, canary="held")
        self._say(f"The canary has held: {now}. Next: make promote")

    def promote(self, only: ModelReference | None = None) -> None:
        """Let the candidate have everything, and then be @champion.

        Args:
            only: refuse where another model is the candidate.

        Raises:
            ReleaseError: no canary has held.
        """
        now = self.settle()
        if only and now and now.phase is Phase.STABLE and now.champion == only.version:
            self._say(f"Version {only.version} is @champion already.")
            return
        if only and now and now.candidate != only.version:
            raise ReleaseError(f"version {only.version} is not the candidate: {now}")
        after = state.promoted(now)
        self._write(now, after)
        self.settle()
        self._say(f"{registry.NAME} version {after.champion} is @champion and serves everything.")

    def rollback(self, only: ModelReference | None = None) -> None:
        """Take a release back that is under way; else go back to the previous champion.

        Args:
            only: take back only the release of this model, while it is under way.

        Raises:
            ReleaseError: there is nothing to go back to.
        """
        now = self.settle()
        if only and (now is None or now.candidate != only.version):
            self._say(f"Nothing to take back of version {only.version}: {now or 'nothing served'}")
            return
        if now is None:
            raise ReleaseError(f"nothing is served in {self._target.name}")
        if now.phase in (Phase.CANARY, Phase.HELD):
            after = state.without_candidate(now)
            self._write(now, after)
            self._say(f"Version {now.candidate} was taken back; {after or 'nothing is served'}")
            return
        if now.phase is Phase.STABLE:
            now = self._write(now, state.returning(now, *self._previous()))
        try:
            self._target.wait(now.champion)
        except UserError:
            self._write(now, state.stayed(now))
            raise
        left = now.candidate
        self._write(now, state.returned(now))
        self.settle()
        self._say(
            f"{registry.NAME} version {now.champion} is @champion again; {left} was withdrawn."
        )

    def settle(self) -> State | None:
        """Let @champion be what is served; returns what is served.

        A release that broke off between the two is finished by this. Read again after the move:
        another release may have gone on meanwhile.
        """
        while True:
            now = self._target.read()
            if now is None or now.phase is not Phase.STABLE or self._dry_run:
                return now
            if not registry.follow(self._settings, now.champion, now.withdrawn):
                return now

    def _prepare(self, model: ModelReference) -> None:
        if not self._dry_run:
            self._target.prepare(_package_of(model))

    def _check_challenger(self, model: ModelReference) -> None:
        challenger = registry.version(self._settings, registry.CHALLENGER)
        if challenger is None or str(challenger.version) != model.version:
            newest = f"version {challenger.version}" if challenger else "none"
            raise ReleaseError(
                f"version {model.version or 'none'} is not @challenger ({newest} is): not released"
            )
        if registry.WITHDRAWN in challenger.tags:
            raise ReleaseError(
                f"version {model.version} was rolled back: `make train` makes a new one"
            )

    def _previous(self) -> tuple[str, str]:
        """The previous champion's version and package."""
        previous = registry.version(self._settings, registry.PREVIOUS)
        if previous is None:
            raise ReleaseError(f"{registry.NAME} has no @previous version to go back to")
        found = previous.tags.get("package")
        if not found:
            raise ReleaseError(
                f"{registry.NAME} version {previous.version}, the previous one, was never packaged"
            )
        return str(previous.version), found

    def _try(self, model: ModelReference) -> None:
        """Wait until a version runs, then ask it what training recorded the answers of."""
        if self._dry_run:
            return
        self._target.wait(model.version)
        contract = registry.contract(self._settings, model.version)
        self._target.prove(contract)
        self._say(
            f"Version {model.version} is ready and answers its {len(contract.golden)} golden rows."
        )

    def _step(self, now: State, after: State) -> State:
        """Shift traffic, then watch; a candidate that does badly gets none."""
        now = self._write(now, after)
        seen = watch.watch(self._target.measure, self._plan, now.candidate, now.champion, self._say)
        if seen.outcome is watch.Outcome.HELD:
            return now
        reasons = "; ".join(seen.decision.reasons)
        if seen.outcome is watch.Outcome.UNSEEN:
            raise ReleaseError(
                f"too little traffic to judge version {now.candidate}: {reasons}. It stays as it "
                "is: `make canary` goes on, `make rollback` takes it back"
            )
        self._write(now, state.shift(now, 0))  # first: it must not wait for the registry
        registry.tag(self._settings, now.candidate, canary=f"failed: {reasons}"[:500])
        raise ReleaseError(
            f"version {now.candidate} does badly: {reasons}. It gets no requests any more: "
            "`make rollback` removes it, `make canary` tries it again"
        )

    def _write(self, before: State | None, after: State | None) -> State | None:
        if before == after:
            return after
        if self._dry_run:
            self._say(self._target.difference(after).rstrip() or "nothing would change")
            raise DryRunError
        self._target.write(before, after)
        self._say(f"{self._target.name}: {after or 'nothing is served'}")
        return after


def _package_of(model: ModelReference) -> str:
    if not model.package:
        raise ReleaseError(f"version {model.version or 'none'} is not packaged: `make package`")
    return model.package
