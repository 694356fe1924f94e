"""deploy/release.toml: how a new version takes over from the champion."""

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator

from modelloop.contract.contract import Part
from modelloop.errors import UserError, explain
from modelloop.project import Project

Positive = Annotated[float, Field(gt=0)]


class Plan(Part):
    """The settings of the file, whose comments explain each one.

    Attributes:
        strategy: `canary` moves traffic, `shadow` copies it.
        steps: the candidate's share of the requests in per cent, rising to 100.
        step_minutes: how long each step is watched.
        min_requests: fewer requests of the candidate in a step are too few to judge it.
        max_error_share: the share of its requests, 0 to 1, that may fail beyond the champion's.
        max_latency_ratio: its 95th percentile of the latency, as a multiple of the champion's.
        max_drift: population stability index of its predictions, beyond the champion's.
        ready_minutes: how long a version may take to start.
    """

    strategy: Literal["canary", "shadow"]
    steps: list[Annotated[int, Field(ge=1, le=100)]] = Field(min_length=1)
    step_minutes: Positive
    min_requests: Annotated[int, Field(ge=0)]
    max_error_share: Annotated[float, Field(ge=0, le=1)]
    max_latency_ratio: Positive
    max_drift: Positive
    ready_minutes: Positive

    @field_validator("steps")
    @classmethod
    def _rise_to_all(cls, steps: list[int]) -> list[int]:
        if sorted(set(steps)) != steps or steps[-1] != 100:
            raise ValueError("they must rise and end with 100")
        return steps

    @classmethod
    def read(cls, path: Path) -> "Plan":
        """Read a file.

        Raises:
            UserError: it cannot be read, or holds a wrong value; the message names it.
        """
        try:
            return cls.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}") from error
        except tomllib.TOMLDecodeError as error:
            raise UserError(f"{path}: {error}") from error
        except ValidationError as error:
            raise UserError(f"{path}: {explain(error)}") from error


def path_of(project: Project) -> Path:
    """The file of a repository."""
    return project.root / "deploy" / "release.toml"
