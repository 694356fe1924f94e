"""Checkpoints of a scoring run: one that was killed is resumed after its last complete chunk.

A checkpoint is a folder beside the output: files that are only appended to, and a state that says
how many bytes of them are valid. A run may be killed at any time.
"""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ValidationError

from modelloop.errors import UserError
from modelloop.locks import LockedError, exclusive
from modelloop.table import chunks

Job = dict[str, str | int]  # everything that the output depends on, by the names in messages


@contextmanager
def open_checkpoint(target: Path, job: Job) -> Iterator["Checkpoint"]:
    """The checkpoint of a target, locked; an empty one unless it was saved by the same job.

    Args:
        target: the output file.
        job: what is to be done.

    Raises:
        UserError: another run writes the target, or a file cannot be written.
    """
    folder = target.with_name(f"{target.name}.part")
    try:
        folder.mkdir(exist_ok=True)
        with exclusive(folder, wait=False):
            yield Checkpoint(folder, target, job)
    except LockedError as error:
        raise UserError(f"{target}: another run is writing it") from error
    except OSError as error:
        raise UserError(f"{target}: cannot be written: {error.strerror}") from error


class State(BaseModel):
    """The state of a job at a checkpoint.

    Attributes:
        job: the job that saved it.
        rows: how many rows of the input are scored.
        refused: how many of them were refused.
        counts: of the drift, for `Drift.restore`.
        sizes: valid bytes of each file of the checkpoint, by its name.
    """

    job: Job
    rows: int = 0
    refused: int = 0
    counts: list[float] = []
    sizes: dict[str, int] = {}


class Checkpoint:
    """The output so far, with the state of its last complete chunk.

    Attributes:
        state: the last one that was saved.
    """

    BLOCKS, REFUSALS, STATE = "blocks", "refused.csv", "state.json"

    def __init__(self, folder: Path, target: Path, job: Job) -> None:
        """Resume from the state in the folder, if the same job saved it; else start over."""
        self._folder, self._target = folder, target
        self.state = self._resumable(job) or State(job=job)
        for name in (self.BLOCKS, self.REFUSALS):
            with (folder / name).open("ab") as file:
                file.truncate(self.state.sizes.get(name, 0))

    def save(self, block: bytes, refusals: bytes, state: State) -> None:
        """Append a chunk's output and refusals, then replace the state, which makes them valid."""
        for name, content in ((self.BLOCKS, block), (self.REFUSALS, refusals)):
            with (self._folder / name).open("ab") as file:
                file.write(content)
                state.sizes[name] = file.tell()
        new = self._folder / "state.new"
        new.write_text(state.model_dump_json(), encoding="utf-8")
        new.replace(self._folder / self.STATE)
        self.state = state

    def publish(self, kind: str) -> Path:
        """Move the finished files to the target and remove the checkpoint.

        Args:
            kind: of the target, one of the values of chunks.ENDINGS.

        Returns:
            The path of the refusals; no file is there if no row was refused.
        """
        chunks.finish(self._folder / self.BLOCKS, kind)
        refusals = refusals_of(self._target)
        if self.state.refused:
            (self._folder / self.REFUSALS).replace(refusals)
        else:
            refusals.unlink(missing_ok=True)
        (self._folder / self.BLOCKS).replace(self._target)
        shutil.rmtree(self._folder)
        return refusals

    def _resumable(self, job: Job) -> State | None:
        path = self._folder / self.STATE
        if not path.exists():
            return None
        try:
            state = State.model_validate_json(path.read_bytes())
        except ValidationError:
            print(f"beginning anew: {path} cannot be read", file=sys.stderr)
            return None
        other = [name for name in job if state.job.get(name) != job[name]]
        lost = [name for name, size in state.sizes.items() if not self._holds(name, size)]
        if other or lost:
            why = f"another {' and '.join(other)}" if other else f"no whole {' and '.join(lost)}"
            print(f"beginning anew: the unfinished run has {why}", file=sys.stderr)
            return None
        return state

    def _holds(self, name: str, size: int) -> bool:
        path = self._folder / name
        return path.exists() and path.stat().st_size >= size


def refusals_of(target: Path) -> Path:
    """The path of the file that names the refused rows of an output."""
    stem = target.name[: -len(chunks.ending(target.name))]
    return target.with_name(f"{stem}.refused.csv")
