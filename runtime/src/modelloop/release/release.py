"""The verbs of a release: deploy to staging, canary, promote, roll back.

What the target serves is the truth; the alias @champion in the registry is moved last, to match it.
So every verb may be interrupted anywhere, repeated, or run at the same time as another one: it
starts from the state that it reads.
"""

from collections.abc import Callable
from typing import TypeVar

from modelloop.errors import UserError
from modelloop.project import Project
from modelloop.registry import versions
from modelloop.registry.model_reference import ModelReference
from modelloop.release import state, watch
from modelloop.release.plan import Plan
from modelloop.release.state import Phase, ReleaseError, State
from modelloop.release.target import Target

NewState = TypeVar("NewState", bound=State | None)


class DryRunError(Exception):
    """The first change was shown, and nothing was changed."""


class Release:
    """Releases to one environment."""

    def __init__(
        self,
        project: Project,
        target: Target,
        plan: Plan,
        *,
        dry_run: bool = False,
        report: Callable[[str], None] = print,
    ) -> None:
        """Prepare the verbs; nothing is read or changed yet.

        Args:
            project: the repository whose model is released.
            target: the environment.
            plan: how a new version takes over.
            dry_run: every verb shows its first change, makes none and raises DryRunError.
            report: called with each line of progress.
        """
        self._project = project
        self._target = target
        self._plan = plan
        self._dry_run = dry_run
        self._report = report

    def deploy(self, model: ModelReference) -> None:
        """Serve a packaged model alone, and check its golden rows: what staging is for.

        Raises:
            ReleaseError: it does not start, or its predictions are wrong.
        """
        after = state.served(model.version, _package_of(model))
        self._prepare(model)
        self._write(self._target.read(), after)
        self._check_running(model)

    def canary(self, model: ModelReference) -> None:
        """Give a packaged model more and more of the requests, as long as it passes every step.

        Raises:
            ReleaseError: it is not the challenger, another release is in progress, it does not
                start, it fails a step (then it gets no requests any more), or it had too few
                requests to be judged.
        """
        self._check_challenger(model)
        before = self.settle()
        now = state.begin(before, model.version, _package_of(model))
        if now.phase is Phase.HELD:
            self._report(f"The canary has held: {now}. Next: make promote")
            return
        self._prepare(model)
        self._write(before, now)
        self._check_running(model)
        if not now.champion:
            self._report("The first release: there is nothing to hold it against.")
        elif self._plan.strategy == "shadow":
            most = min(self._plan.steps[-1], self._target.most_mirrored)
            now = self._step(now, state.mirror(now, most))
        else:
            reached = now.get(model.version).traffic
            for traffic in [step for step in self._plan.steps if step >= reached]:
                now = self._step(now, state.shift(now, traffic))
        now = self._write(now, state.held(now))
        versions.tag(self._project, model.version, canary="held")
        self._report(f"The canary has held: {now}. Next: make promote")

    def promote(self, only: ModelReference | None = None) -> None:
        """Give the candidate all requests, then make it @champion.

        Args:
            only: refuse where another model is the candidate.

        Raises:
            ReleaseError: no canary has passed.
        """
        now = self.settle()
        if only and now and now.phase is Phase.STABLE and now.champion == only.version:
            self._report(f"Version {only.version} is @champion already.")
            return
        if only and now and now.candidate != only.version:
            raise ReleaseError(f"version {only.version} is not the candidate: {now}")
        after = self._write(now, state.promoted(now))
        self.settle()
        self._report(
            f"{self._project.slug} version {after.champion} is @champion and serves everything."
        )

    def rollback(self, only: ModelReference | None = None) -> None:
        """Cancel the release that is in progress; without one, return to the previous champion.

        Args:
            only: cancel only the release of this model, and only while it is in progress.

        Raises:
            ReleaseError: there is nothing to return to.
        """
        now = self.settle()
        if only and (now is None or now.candidate != only.version):
            self._report(
                f"Nothing to take back of version {only.version}: {now or 'nothing served'}"
            )
            return
        if now is None:
            raise ReleaseError(f"nothing is served in {self._target.name}")
        if now.phase in (Phase.CANARY, Phase.HELD):
            after = self._write(now, state.without_candidate(now))
            self._report(f"Version {now.candidate} was taken back; {after or 'nothing is served'}")
            return
        if now.phase is Phase.STABLE:
            now = self._write(now, state.returning(now, *self._previous()))
        try:
            self._target.wait(now.champion)
        except UserError:
            self._write(now, state.stayed(now))
            raise
        self._write(now, state.returned(now))
        self.settle()
        self._report(
            f"{self._project.slug} version {now.champion} is @champion again; "
            f"{now.candidate} was withdrawn."
        )

    def settle(self) -> State | None:
        """Move @champion to the version that is served, where it is another one.

        This finishes a release that was interrupted between the two.

        Returns:
            The state of the target. It is read again after a move: another release may have
            changed it meanwhile.
        """
        while True:
            now = self._target.read()
            if now is None or now.phase is not Phase.STABLE or self._dry_run:
                return now
            if not versions.follow(self._project, now.champion, now.withdrawn):
                return now

    def _prepare(self, model: ModelReference) -> None:
        if not self._dry_run:
            self._target.prepare(_package_of(model))

    def _check_challenger(self, model: ModelReference) -> None:
        challenger = versions.version(self._project, versions.CHALLENGER)
        if challenger is None or str(challenger.version) != model.version:
            newest = f"version {challenger.version}" if challenger else "none"
            raise ReleaseError(
                f"version {model.version or 'none'} is not @challenger ({newest} is): not released"
            )
        if versions.WITHDRAWN in challenger.tags:
            raise ReleaseError(
                f"version {model.version} was rolled back: `make train` makes a new one"
            )

    def _previous(self) -> tuple[str, str]:
        """The previous champion's version and package."""
        previous = versions.version(self._project, versions.PREVIOUS)
        if previous is None:
            raise ReleaseError(f"{self._project.slug} has no @previous version to go back to")
        found = previous.tags.get("package")
        if not found:
            raise ReleaseError(
                f"{self._project.slug} version {previous.version}, the previous one, was never "
                "packaged"
            )
        return str(previous.version), found

    def _check_running(self, model: ModelReference) -> None:
        """Wait until a version is ready, then compare its predictions on the golden rows."""
        if self._dry_run:
            return
        self._target.wait(model.version)
        contract = versions.contract(self._project, model.version)
        self._target.prove(contract)
        self._report(
            f"Version {model.version} is ready and answers its {len(contract.golden)} golden rows."
        )

    def _step(self, now: State, after: State) -> State:
        """Shift traffic, then watch the step; a candidate that fails it gets no requests."""
        now = self._write(now, after)
        verdict = watch.watch(
            self._target.measure, self._plan, now.candidate, now.champion, self._report
        )
        if verdict.outcome is watch.Outcome.HELD:
            return now
        reasons = "; ".join(verdict.decision.reasons)
        if verdict.outcome is watch.Outcome.INCONCLUSIVE:
            raise ReleaseError(
                f"too little traffic to judge version {now.candidate}: {reasons}. It stays as it "
                "is: `make canary` goes on, `make rollback` takes it back"
            )
        self._write(now, state.shift(now, 0))  # first: it must not wait for the registry
        versions.tag(self._project, now.candidate, canary=f"failed: {reasons}"[:500])
        raise ReleaseError(
            f"version {now.candidate} does badly: {reasons}. It gets no requests any more: "
            "`make rollback` removes it, `make canary` tries it again"
        )

    def _write(self, before: State | None, after: NewState) -> NewState:
        """Write a state that differs from the one before; returns it."""
        if before == after:
            return after
        if self._dry_run:
            self._report(self._target.difference(after).rstrip() or "nothing would change")
            raise DryRunError
        self._target.write(before, after)
        self._report(f"{self._target.name}: {after or 'nothing is served'}")
        return after


def _package_of(model: ModelReference) -> str:
    if not model.package:
        raise ReleaseError(f"version {model.version or 'none'} is not packaged: `make package`")
    return model.package
