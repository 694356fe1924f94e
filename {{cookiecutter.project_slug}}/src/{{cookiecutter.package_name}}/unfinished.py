"""What a run has done of a file that is not finished, kept so that the next one goes on.

It lies in a folder beside the output: files that are only appended to, and a state that says how
much of them counts. A run may be killed at any time.
"""

import fcntl
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ValidationError

from . import chunks
from .errors import UserError

Job = dict[str, str | int]


@contextmanager
def unfinished(target: Path, job: Job) -> Iterator["Unfinished"]:
    """What there is of `target` by the same job, or a beginning of it.

    Args:
        target: the file to make.
        job: everything that its content depends on, under the names that a person is told.

    Raises:
        UserError: another run is at it, or it cannot be written.
    """
    folder = target.with_name(f"{target.name}.part")
    try:
        folder.mkdir(exist_ok=True)
        with _alone(folder, target):
            yield Unfinished(folder, target, job)
    except OSError as error:
        raise UserError(f"{target}: cannot be written: {error.strerror}") from error


class State(BaseModel):
    """How far an unfinished run has come.

    Attributes:
        job: what it does.
        rows: of the input that are done, of which `refused` were.
        counts: of the drift.
        sizes: of the files beside this one, in bytes, as far as they belong to those rows.
    """

    job: Job
    rows: int = 0
    refused: int = 0
    counts: list[float] = []
    sizes: dict[str, int] = {}


class Unfinished:
    """The folder of what is not finished.

    Attributes:
        state: how far it is.
    """

    BLOCKS, REFUSALS, STATE = "blocks", "refused.csv", "state.json"

    def __init__(self, folder: Path, target: Path, job: Job) -> None:
        """Go on with the same job, else begin anew."""
        self._folder, self._target = folder, target
        self.state = self._known(job) or State(job=job)
        for name in (self.BLOCKS, self.REFUSALS):
            with (folder / name).open("ab") as file:
                file.truncate(self.state.sizes.get(name, 0))

    def append(self, block: bytes, refusals: bytes, state: State) -> None:
        """Keep what a chunk came to. The state is written last, and so makes it count."""
        for name, content in ((self.BLOCKS, block), (self.REFUSALS, refusals)):
            with (self._folder / name).open("ab") as file:
                file.write(content)
                state.sizes[name] = file.tell()
        new = self._folder / "state.new"
        new.write_text(state.model_dump_json(), encoding="utf-8")
        new.replace(self._folder / self.STATE)
        self.state = state

    def finish(self, kind: str) -> Path:
        """Put the files in their places; returns where the refusals are, if there are any."""
        chunks.finish(self._folder / self.BLOCKS, kind)
        place = refusals_of(self._target)
        if self.state.refused:
            (self._folder / self.REFUSALS).replace(place)
        else:
            place.unlink(missing_ok=True)
        (self._folder / self.BLOCKS).replace(self._target)
        shutil.rmtree(self._folder)
        return place

    def _known(self, job: Job) -> State | None:
        path = self._folder / self.STATE
        if not path.exists():
            return None
        try:
            state = State.model_validate_json(path.read_bytes())
        except ValidationError:
            print(f"beginning anew: {path} cannot be read", file=sys.stderr)
            return None
        other = [name for name in job if state.job.get(name) != job[name]]
        lost = [n for n, size in state.sizes.items() if not self._holds(n, size)]
        if other or lost:
            why = f"another {' and '.join(other)}" if other else f"no whole {' and '.join(lost)}"
            print(f"beginning anew: the unfinished run has {why}", file=sys.stderr)
            return None
        return state

    def _holds(self, name: str, size: int) -> bool:
        path = self._folder / name
        return path.exists() and path.stat().st_size >= size


def refusals_of(target: Path) -> Path:
    """Where the refused rows of an output are named."""
    stem = target.name[: -len(chunks.ending(target.name))]
    return target.with_name(f"{stem}.refused.csv")


@contextmanager
def _alone(folder: Path, target: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"{target}: another run is writing it") from error
        yield
    finally:
        os.close(handle)
