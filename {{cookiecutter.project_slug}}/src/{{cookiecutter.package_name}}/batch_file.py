"""Score one file into another, in constant memory: it goes through in chunks.

See unfinished.py for what is left of a run that was killed.
"""

import csv
import hashlib
import io
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from . import chunks, client, scoring
from .contract import Contract
from .errors import UserError
from .monitoring import drift
from .scoring import Scored, Scorer
from .unfinished import Job, State, unfinished

CHUNK_ROWS = 20_000  # of what is in memory at once
HEAD = 1024 * 1024  # bytes of the input that are digested, to know it again
EVERY = 10.0  # seconds between two lines of progress, where there is no terminal


@dataclass(frozen=True)
class Report:
    """What became of a file.

    Attributes:
        rows: in the input.
        refused: how many of them were refused; the file `refusals` says why.
        seconds: that this run took.
        contract: of the model that answered.
        bins: rows by bin of each feature and of the predictions, beside training's shares.
        psi: drift of each feature, and of the predictions.
    """

    rows: int
    refused: int
    seconds: float
    output: Path
    refusals: Path
    contract: Contract
    bins: pd.DataFrame
    psi: dict[str, float]

    def __str__(self) -> str:
        """For people."""
        said = f"{self.rows - self.refused} of {self.rows} rows are scored, in {self.output.name}"
        if self.refused:
            said += f"; {self.refused} were refused: {self.refusals.name} says why"
        most = max(self.psi, key=self.psi.get)
        return f"{said}\n{self.seconds:.0f} s; largest drift: {most}, PSI {self.psi[most]:.3f}"


def score(scorer: Scorer, source: Path, target: Path, chunk_rows: int = CHUNK_ROWS) -> Report:
    """Score one file into another, whole or not at all; refused rows go into a third.

    Raises:
        UserError: a file is not what it should be, or another run writes the same one.
        ServerError: the server does not answer; the rows before are kept for the next run.
    """
    start = time.monotonic()
    contract = scorer.contract
    kind = chunks.ENDINGS[chunks.ending(target.name)]
    table = chunks.Source(source)
    _check(table.names, contract, source, target)
    seen = drift.Drift(contract)
    with unfinished(target, _job(source, contract, kind, chunk_rows)) as work:
        done = work.state
        if done.rows:
            print(f"going on after {done.rows} rows", file=sys.stderr)
            seen.restore(done.counts)
        with Progress(done.rows) as progress:
            for chunk in table.chunks(chunk_rows, done.rows):
                features = chunk.select([column.name for column in contract.features]).to_pandas()
                if table.is_text:
                    features = scoring.typed(features, contract)
                try:
                    scored = scorer.score(features)
                except client.ServerError as error:
                    kept = f"{done.rows} rows are done and kept: the same command goes on"
                    raise client.ServerError(f"{error}\n{kept}", error.status) from error
                if table.is_text and kind == chunks.PARQUET:
                    chunk = _with_types(chunk, features, scored, contract)
                block = chunks.block(_result(chunk, scored, contract), kind, first=not done.rows)
                seen.count(scored)
                refused = done.refused + len(scored.refused)
                refusals = _refusals(scored, done.rows)
                done = State(
                    job=done.job, rows=done.rows + len(chunk), refused=refused, counts=seen.counts
                )
                work.append(block, refusals, done)
                progress.show(done.rows, table.share)
        if not done.rows:
            raise UserError(f"{source}: there are no rows")
        refusals = work.finish(kind)
    return Report(
        rows=done.rows,
        refused=done.refused,
        seconds=time.monotonic() - start,
        output=target,
        refusals=refusals,
        contract=contract,
        bins=seen.bins(),
        psi=seen.psi(),
    )


class Progress:
    """Says how far it is: a line that changes on a terminal, one every ten seconds elsewhere."""

    def __init__(self, rows: int) -> None:
        """Begin, after so many rows that are done."""
        self._begun, self._before = time.monotonic(), rows
        self._told = self._begun
        self._share: float | None = None
        self._live = sys.stderr.isatty()

    def show(self, rows: int, share: float) -> None:
        """Tell that so many rows are done, and which share of the file has been read."""
        now = time.monotonic()
        if not self._live and now - self._told < EVERY:
            return
        self._told = now
        seconds = max(now - self._begun, 1e-9)
        new = rows - self._before
        left = seconds * (rows / max(share, 1e-9) - rows) / new
        line = f"{rows:,} rows, {new / seconds:,.0f} a second, {_duration(left)} left"
        if self._live:
            print(f"\r{line:<70}", end="", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            print(file=sys.stderr)


def _check(names: list[str], contract: Contract, source: Path, target: Path) -> None:
    if source.resolve() == target.resolve():
        raise UserError(f"{target}: INPUT and OUTPUT are the same file")
    if not target.parent.is_dir():
        raise UserError(f"{target}: there is no folder {target.parent}")
    absent = scoring.missing_columns(pd.DataFrame(columns=names), contract)
    if absent:
        raise UserError(
            f"{source}: no column {', '.join(map(repr, absent))}, which the model needs; the file "
            f"has {', '.join(map(repr, names))}"
        )
    clash = [name for name in scoring.added_columns(contract) if name in names]
    if clash:
        raise UserError(
            f"{source}: the output has columns {', '.join(map(repr, clash))} of its own: rename "
            "those of the input"
        )


def _job(source: Path, contract: Contract, kind: str, chunk_rows: int) -> Job:
    """Everything that the output depends on, under the names that a person is told."""
    found = source.stat()
    with source.open("rb") as file:
        head = hashlib.sha256(file.read(HEAD)).hexdigest()
    return {
        "input": f"{found.st_size} bytes, {found.st_mtime_ns} ns, {head}",
        "model version": contract.version,
        "contract": contract.sha256,
        "kind of output": kind,
        "chunk size": chunk_rows,
    }


def _with_types(
    chunk: pa.Table, rows: pd.DataFrame, scored: Scored, contract: Contract
) -> pa.Table:
    """The features of a CSV file with their types; what is refused is null, for it is dropped."""
    answered = scored.answered
    for column in contract.features:
        kind = pa.float64() if column.kind == "number" else pa.string()
        values = rows[column.name].where(answered, None)
        place = chunk.column_names.index(column.name)
        array = pa.array(values, kind, from_pandas=True)
        chunk = chunk.set_column(place, column.name, array)
    return chunk


def _result(chunk: pa.Table, scored: Scored, contract: Contract) -> pa.Table:
    """The answered rows with the answers beside them."""
    answered = scored.answered
    if not answered.all():
        chunk = chunk.filter(pa.array(answered))
    outputs = scored.outputs[answered]
    answers = [pa.array(np.ascontiguousarray(column)) for column in outputs.T]
    if contract.classes:
        best = outputs.argmax(axis=1)
        answers.append(pa.array(contract.classes, pa.string()).take(pa.array(best)))
    answers.append(pa.repeat(contract.version, len(outputs)))
    for name, column in zip(scoring.added_columns(contract), answers, strict=True):
        chunk = chunk.append_column(name, column)
    return chunk


def _refusals(scored: Scored, before: int) -> bytes:
    """Lines for the refused rows of a chunk that has so many rows before it."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    if not before:
        lines.writerow(["row", "reason"])
    lines.writerows((before + row, scored.refused[row]) for row in sorted(scored.refused))
    return text.getvalue().encode()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
