"""The state of a release: which versions are deployed, their traffic, and the phase.

A release goes from state to state. Every step is one write of the whole state, so that a release
that was interrupted anywhere can be continued, or rolled back, from the state that is there.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, model_validator

from modelloop.contract.contract import Part
from modelloop.errors import UserError


class ReleaseError(UserError):
    """The release is not possible from the current state."""


class ConflictError(ReleaseError):
    """Another release changed the state at the same time."""


class Phase(StrEnum):
    """How far a release is."""

    STABLE = "stable"  # only the champion is deployed
    CANARY = "canary"  # the candidate runs beside the champion and is compared with it
    HELD = "held"  # the canary passed: the candidate may become the champion
    RETURNING = "returning"  # a rollback: an earlier version starts beside the current one


class Deployed(Part):
    """A version that is deployed.

    Attributes:
        version: of the registered model.
        package: what runs: an image by digest, or a model of the serving platform.
        traffic: per cent of the requests; for a shadow, per cent of them that are copied to it.
        shadow: whether its responses are discarded.
    """

    version: str
    package: str
    traffic: Annotated[int, Field(ge=0, le=100)]
    shadow: bool = False


class State(Part):
    """The whole state that is stored.

    Attributes:
        phase: how far the release is.
        champion: the champion's version; while RETURNING, the version that becomes it again. Empty
            before the first promotion.
        candidate: the version on trial; while RETURNING, the version that is being replaced.
        withdrawn: the version that the last rollback withdrew; empty after a promotion.
        deployed: what runs, each version once; the traffic without shadows sums to 100.
    """

    phase: Phase
    champion: str
    candidate: str = ""
    withdrawn: str = ""
    deployed: tuple[Deployed, ...]

    @model_validator(mode="after")
    def _check(self) -> "State":
        names = [d.version for d in self.deployed]
        live = [d.traffic for d in self.deployed if not d.shadow]
        if len(set(names)) != len(names):
            raise ValueError(f"a version is deployed twice: {', '.join(names)}")
        if sum(live) != 100:
            raise ValueError(f"the traffic sums to {sum(live)}, not to 100")
        return self

    def find(self, version: str) -> Deployed | None:
        """The deployment of a version; None where it is not deployed."""
        return next((d for d in self.deployed if d.version == version), None)

    def get(self, version: str) -> Deployed:
        """The deployment of a version.

        Raises:
            ReleaseError: it is not deployed; only a change by hand leads there.
        """
        found = self.find(version)
        if found is None:
            raise ReleaseError(f"version {version} is not deployed ({self})")
        return found

    def __str__(self) -> str:
        """One line for people, such as `canary: version 1 95 %, version 2 5 %`."""
        parts = [
            f"version {d.version} {'a copy of ' if d.shadow else ''}{d.traffic} %"
            for d in self.deployed
        ]
        return f"{self.phase}: {', '.join(parts)}"


def served(version: str, package: str, withdrawn: str = "") -> State:
    """One version is the champion and gets all requests."""
    return State(
        phase=Phase.STABLE,
        champion=version,
        withdrawn=withdrawn,
        deployed=(Deployed(version=version, package=package, traffic=100),),
    )


def begin(now: State | None, version: str, package: str) -> State:
    """The candidate is deployed beside the champion, without traffic; a first release gets all.

    Where the canary of this version has begun before, its state is returned as it is.

    Raises:
        ReleaseError: it is the champion, or another release is in progress.
    """
    new = Deployed(version=version, package=package, traffic=0)
    if now is None:
        first = new.model_copy(update={"traffic": 100})
        return State(phase=Phase.CANARY, champion="", candidate=version, deployed=(first,))
    if now.phase is Phase.STABLE:
        if now.champion == version:
            raise ReleaseError(f"version {version} is served already: nothing to release")
        return State(
            phase=Phase.CANARY,
            champion=now.champion,
            candidate=version,
            deployed=(*now.deployed, new),
        )
    if now.phase is Phase.RETURNING or now.candidate != version:
        raise ReleaseError(f"another release is under way ({now}): promote it or `make rollback`")
    return now


def shift(now: State, traffic: int) -> State:
    """The candidate gets `traffic` per cent of the requests, the champion the rest."""
    share = {now.candidate: traffic, now.champion: 100 - traffic}
    return now.model_copy(
        update={
            "phase": Phase.CANARY,
            "deployed": tuple(
                d.model_copy(update={"traffic": share[d.version], "shadow": False})
                for d in now.deployed
            ),
        }
    )


def mirror(now: State, traffic: int) -> State:
    """The champion gets all requests, the candidate copies of `traffic` per cent of them."""
    return now.model_copy(
        update={
            "phase": Phase.CANARY,
            "deployed": tuple(
                d.model_copy(update={"traffic": traffic, "shadow": True})
                if d.version == now.candidate
                else d.model_copy(update={"traffic": 100})
                for d in now.deployed
            ),
        }
    )


def held(now: State) -> State:
    """The canary passed; the traffic stays as it is."""
    return now.model_copy(update={"phase": Phase.HELD})


def promoted(now: State | None) -> State:
    """The candidate is the champion, and nothing else is deployed.

    Raises:
        ReleaseError: no canary has passed.
    """
    if now is None or now.phase in (Phase.STABLE, Phase.RETURNING):
        raise ReleaseError(f"no canary to promote ({now or 'nothing is served'}): `make canary`")
    if now.phase is Phase.CANARY:
        raise ReleaseError(f"the canary has not held yet ({now}): `make canary` goes on with it")
    return served(now.candidate, now.get(now.candidate).package)


def without_candidate(now: State) -> State | None:
    """Only the champion, as before the canary; None where there is no champion yet."""
    champion = now.find(now.champion)
    return served(champion.version, champion.package) if champion else None


def returning(now: State, version: str, package: str) -> State:
    """An earlier version is deployed beside the champion, without traffic, to replace it."""
    former = Deployed(version=version, package=package, traffic=0)
    return State(
        phase=Phase.RETURNING,
        champion=version,
        candidate=now.champion,
        deployed=(*now.deployed, former),
    )


def returned(now: State) -> State:
    """The earlier version is the champion again."""
    return served(now.champion, now.get(now.champion).package, withdrawn=now.candidate)


def stayed(now: State) -> State:
    """The earlier version did not start: the version that it was to replace stays the champion."""
    return served(now.candidate, now.get(now.candidate).package)
