"""A table that is scored in chunks, and its results so far. No Streamlit here."""

import io
import time
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
import pandas as pd

from modelloop.app.words import number
from modelloop.batch import scoring
from modelloop.batch.scoring import Scorer
from modelloop.contract.contract import Contract
from modelloop.errors import UserError

CHUNK = 1000  # rows between two updates of the progress
REFUSED = "refused"  # column of the results that says why a row has no answer


@dataclass
class TableRun:
    """The rows of a file and the answers for the first `done` of them.

    Attributes:
        rows: as the file has them; text, of a CSV file.
        contract: of the model that scores; a run is never finished by another one.
        is_text: whether the values are text that is not converted yet.
        outputs: of every row; NaN where it was refused, and from `done` on.
        refused: why a row was not answered, by its position.
        seconds: that scoring took so far.
        fault: why it stopped before the end; empty where it did not.
    """

    rows: pd.DataFrame
    contract: Contract
    is_text: bool
    outputs: np.ndarray = field(init=False)
    refused: dict[int, str] = field(default_factory=dict)
    done: int = 0
    seconds: float = 0.0
    fault: str = ""

    def __post_init__(self) -> None:
        """Make room for the answers."""
        self.outputs = np.full((len(self.rows), len(self.contract.output_names)), np.nan)

    @property
    def finished(self) -> bool:
        """Whether every row is answered or refused."""
        return self.done == len(self.rows)

    @property
    def progress(self) -> str:
        """The progress in words, with the speed."""
        rate = self.done / self.seconds if self.seconds else 0.0
        left = (len(self.rows) - self.done) / rate if rate else 0.0
        return (
            f"{self.done:,} of {len(self.rows):,} rows, {number(rate)} rows a second, "
            f"{left:.0f} s left"
        )

    def step(self, scorer: Scorer) -> None:
        """Score the next chunk; where that fails, nothing of it counts and it can be repeated.

        Raises:
            ServerError: the server is not there, too slow, or fails.
        """
        begun = time.monotonic()
        chunk = self.rows.iloc[self.done : self.done + CHUNK]
        scored = scorer.score(scoring.typed(chunk, self.contract) if self.is_text else chunk)
        self.outputs[self.done : self.done + len(chunk)] = scored.outputs
        self.refused |= {self.done + at: reason for at, reason in scored.refused.items()}
        self.done += len(chunk)
        self.seconds += time.monotonic() - begun

    def answers(self) -> pd.Series:
        """The class or the value of each row so far; None or NaN where it was refused."""
        return self.results()["prediction"]

    def results(self, rows: int | None = None) -> pd.DataFrame:
        """The file's columns with the answers beside them, for all or the first scored rows."""
        done = self.done if rows is None else min(rows, self.done)
        outputs = self.outputs[:done]
        answers = [*outputs.T]
        if self.contract.classes:
            answers.append(scoring.labels(outputs, self.contract))
        answers.append(self.contract.version)
        added = dict(zip(scoring.added_columns(self.contract), answers, strict=True))
        added[REFUSED] = [self.refused.get(at, "") for at in range(done)]
        return self.rows.iloc[:done].assign(**added)

    def csv(self) -> bytes:
        """The results as a CSV file; the file's own values are unchanged."""
        return self.results().to_csv(index=False).encode()

    def parquet(self) -> bytes:
        """The results as a Parquet file, the features with their types."""
        table = self.results()
        table = scoring.typed(table, self.contract) if self.is_text else table
        target = io.BytesIO()
        table.to_parquet(target, index=False)
        return target.getvalue()


def open_table(name: str, file: BinaryIO, contract: Contract) -> TableRun:
    """Read a CSV or Parquet file and check its columns; nothing is sent yet.

    Raises:
        UserError: it cannot be read, has no rows, lacks a feature, or has a column that the
            results would overwrite.
    """
    is_text = not name.lower().endswith((".parquet", ".pq"))
    try:
        if is_text:
            rows = pd.read_csv(file, dtype=str, keep_default_na=False)
        else:
            rows = pd.read_parquet(file)
    except (ValueError, OSError, pd.errors.ParserError) as error:
        kind = "CSV in UTF-8" if is_text else "Parquet"
        raise UserError(f"{name} cannot be read as {kind}: {str(error).splitlines()[0]}") from error
    if rows.empty:
        raise UserError(f"{name} has no rows")
    missing = scoring.missing_columns(rows, contract)
    if missing:
        raise UserError(
            f"{name} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}. The model "
            f"needs {', '.join(column.name for column in contract.features)}"
        )
    run = TableRun(rows.reset_index(drop=True), contract, is_text)
    added = {*scoring.added_columns(contract), REFUSED}
    clash = [column for column in rows.columns if column in added]
    if clash:
        raise UserError(f"{name} has columns that the results add: rename {', '.join(clash)}")
    return run
