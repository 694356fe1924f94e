"""deploy/release.toml: how a new version takes over."""

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator

from ..contract import Part
from ..errors import UserError
from ..settings import ROOT

PATH = ROOT / "deploy" / "release.toml"

Positive = Annotated[float, Field(gt=0)]


class Plan(Part):
    """The file; its comments say what each one means."""

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
    def read(cls, path: Path = PATH) -> "Plan":
        """Read the file.

        Raises:
            UserError: it cannot be read, or says what is not allowed; the message names it.
        """
        try:
            return cls.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}") from error
        except tomllib.TOMLDecodeError as error:
            raise UserError(f"{path}: {error}") from error
        except ValidationError as error:
            faults = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
            raise UserError(f"{path}: " + "; ".join(faults)) from error
