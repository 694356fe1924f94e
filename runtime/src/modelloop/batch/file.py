"""Score one file into another, chunk by chunk in constant memory, with a checkpoint each."""

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

from modelloop.batch import drift, scoring
from modelloop.batch.checkpoint import Job, State, open_checkpoint
from modelloop.batch.scoring import Scored, Scorer
from modelloop.contract.contract import Contract
from modelloop.errors import UserError
from modelloop.serving import client
from modelloop.table import chunks

CHUNK_ROWS = 20_000  # in memory at once
HEAD = 1024 * 1024  # first bytes of the input, whose digest identifies it
EVERY = 10.0  # seconds between two lines of progress without a terminal


@dataclass(frozen=True)
class Report:
    """The result of scoring a file.

    Attributes:
        rows: how many the input has.
        refused: how many of them were refused.
        seconds: how long this run took.
        output: the answered rows with their answers.
        refusals: a CSV file with the row and the reason of each refusal; none without refusals.
        contract: of the model that answered.
        bins: rows by bin of each feature and of the predictions, see `Drift.bins`.
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
        """Two lines for a terminal."""
        scored = f"{self.rows - self.refused} of {self.rows} rows are scored, in {self.output.name}"
        if self.refused:
            scored += f"; {self.refused} were refused: {self.refusals.name} says why"
        most, psi = max(self.psi.items(), key=lambda item: item[1])
        return f"{scored}\n{self.seconds:.0f} s; largest drift: {most}, PSI {psi:.3f}"


def score(scorer: Scorer, source: Path, target: Path, chunk_rows: int = CHUNK_ROWS) -> Report:
    """Score one file into another, whole or not at all; refused rows go into a third.

    Args:
        scorer: the model, here or behind a server.
        source: a CSV or Parquet file, see chunks.ENDINGS.
        target: the file to write, of the same or another kind.
        chunk_rows: how many rows are scored at once.

    Raises:
        UserError: a file cannot be used, or another run writes the same target.
        ServerError: the server does not answer; the checkpoint holds the rows before.
    """
    start = time.monotonic()
    contract = scorer.contract
    kind = chunks.ENDINGS[chunks.ending(target.name)]
    table = chunks.Source(source)
    _check(table.names, contract, source, target)
    counted = drift.Drift(contract)
    with open_checkpoint(target, _job(source, contract, kind, chunk_rows)) as checkpoint:
        done = checkpoint.state
        if done.rows:
            print(f"going on after {done.rows} rows", file=sys.stderr)
            counted.restore(done.counts)
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
                counted.count(scored)
                refusal_lines = _refusal_lines(scored, done.rows)
                done = State(
                    job=done.job,
                    rows=done.rows + len(chunk),
                    refused=done.refused + len(scored.refused),
                    counts=counted.counts,
                )
                checkpoint.save(block, refusal_lines, done)
                progress.show(done.rows, table.share)
        if not done.rows:
            raise UserError(f"{source}: there are no rows")
        refusals = checkpoint.publish(kind)
    return Report(
        rows=done.rows,
        refused=done.refused,
        seconds=time.monotonic() - start,
        output=target,
        refusals=refusals,
        contract=contract,
        bins=counted.bins(),
        psi=counted.psi(),
    )


class Progress:
    """Progress on stderr: a line that changes on a terminal, else one every ten seconds."""

    def __init__(self, rows: int) -> None:
        """Start after so many rows that an earlier run has scored."""
        self._start, self._before = time.monotonic(), rows
        self._shown_at = self._start
        self._live = sys.stderr.isatty()

    def show(self, rows: int, share: float) -> None:
        """Show rows, rate and time left.

        Args:
            rows: how many are scored.
            share: of the input that has been read, from 0 to 1.
        """
        now = time.monotonic()
        if not self._live and now - self._shown_at < EVERY:
            return
        self._shown_at = now
        seconds = max(now - self._start, 1e-9)
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
    status = source.stat()
    with source.open("rb") as file:
        head = hashlib.sha256(file.read(HEAD)).hexdigest()
    return {
        "input": f"{status.st_size} bytes, {status.st_mtime_ns} ns, {head}",
        "model version": contract.version,
        "contract": contract.sha256,
        "kind of output": kind,
        "chunk size": chunk_rows,
    }


def _with_types(
    chunk: pa.Table, rows: pd.DataFrame, scored: Scored, contract: Contract
) -> pa.Table:
    """The features of a CSV file with their types; refused values become null."""
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


def _refusal_lines(scored: Scored, before: int) -> bytes:
    """CSV of the refused rows of a chunk that has `before` rows before it in the file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if not before:
        writer.writerow(["row", "reason"])
    writer.writerows((before + row, scored.refused[row]) for row in sorted(scored.refused))
    return text.getvalue().encode()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
