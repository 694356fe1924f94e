"""What is released: which versions are deployed, who gets the requests, and how far a release is.

A release is a walk through these states. Every step is one write of the whole state, so that a
release which broke off anywhere can be gone on with, or taken back, from what is there.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, model_validator

from ..contract import Part
from ..errors import UserError


class ReleaseError(UserError):
    """The release cannot be done from where things are."""


class ConflictError(ReleaseError):
    """Somebody else released at the same time."""


class Phase(StrEnum):
    """How far a release is."""

    STABLE = "stable"  # the champion is served, nothing else
    CANARY = "canary"  # the candidate is tried beside the champion
    HELD = "held"  # it held, and may become the champion
    RETURNING = "returning"  # an earlier version is started, to become the champion again


class Deployed(Part):
    """A version that is deployed.

    Attributes:
        version: of the registered model.
        package: what runs: an image by digest, or a model of the serving platform.
        traffic: per cent of the requests, of a shadow of copies of them.
        shadow: its answers are thrown away.
    """

    version: str
    package: str
    traffic: Annotated[int, Field(ge=0, le=100)]
    shadow: bool = False


class State(Part):
    """Everything of a release that is kept.

    Attributes:
        champion: the version that is, or stays, the champion; empty before the first release.
        candidate: the version that a canary tries; while RETURNING, the one that is left.
        withdrawn: the version that the last rollback took back from being the champion.
    """

    phase: Phase
    champion: str
    candidate: str = ""
    withdrawn: str = ""
    deployed: tuple[Deployed, ...]

    @model_validator(mode="after")
    def _is_one(self) -> "State":
        names = [d.version for d in self.deployed]
        live = [d.traffic for d in self.deployed if not d.shadow]
        if len(set(names)) != len(names):
            raise ValueError(f"a version is deployed twice: {', '.join(names)}")
        if sum(live) != 100:
            raise ValueError(f"the traffic sums to {sum(live)}, not to 100")
        return self

    def find(self, version: str) -> Deployed | None:
        """What is deployed of a version."""
        return next((d for d in self.deployed if d.version == version), None)

    def __str__(self) -> str:
        """What people are told."""
        parts = [
            f"version {d.version} {'a copy of ' if d.shadow else ''}{d.traffic} %"
            for d in self.deployed
        ]
        return f"{self.phase}: {', '.join(parts)}"


def served(version: str, package: str, withdrawn: str = "") -> State:
    """One version is the champion and gets everything."""
    return State(
        phase=Phase.STABLE,
        champion=version,
        withdrawn=withdrawn,
        deployed=(Deployed(version=version, package=package, traffic=100),),
    )


def begin(now: State | None, version: str, package: str) -> State:
    """The candidate stands beside the champion and gets nothing yet; a first release gets all.

    A canary of the same version goes on where it is.

    Raises:
        ReleaseError: it is the champion, or another release is under way.
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
    """The candidate gets so many per cent of the requests, the champion the rest."""
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
    """The candidate gets a copy of so many per cent of the requests, the champion all of them."""
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
    """The candidate may become the champion."""
    return now.model_copy(update={"phase": Phase.HELD})


def promoted(now: State | None) -> State:
    """The candidate is the champion.

    Raises:
        ReleaseError: no canary has held.
    """
    if now is None or now.phase in (Phase.STABLE, Phase.RETURNING):
        raise ReleaseError(f"no canary to promote ({now or 'nothing is served'}): `make canary`")
    if now.phase is Phase.CANARY:
        raise ReleaseError(f"the canary has not held yet ({now}): `make canary` goes on with it")
    return served(now.candidate, now.find(now.candidate).package)


def without_candidate(now: State) -> State | None:
    """The champion alone, as before the canary; None where there was no champion."""
    champion = now.find(now.champion)
    return served(champion.version, champion.package) if champion else None


def returning(now: State, version: str, package: str) -> State:
    """An earlier version stands beside the champion, to take over."""
    former = Deployed(version=version, package=package, traffic=0)
    return State(
        phase=Phase.RETURNING,
        champion=version,
        candidate=now.champion,
        deployed=(*now.deployed, former),
    )


def returned(now: State) -> State:
    """The earlier version is the champion again."""
    return served(now.champion, now.find(now.champion).package, withdrawn=now.candidate)


def stayed(now: State) -> State:
    """The earlier version could not be started: what was served stays the champion."""
    return served(now.candidate, now.find(now.candidate).package)
