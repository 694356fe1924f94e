"""Post labels that came late: join a file of them to the request log, tell the server each.

The file (CSV or Parquet) has the columns `puid` (the request's id), `truth`, and `row` where
requests have several rows. What was posted is remembered beside the log, so that a file can be
given again, whole or longer.
"""

import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from . import client
from .errors import UserError
from .serving import request_log
from .settings import Settings

POSTED = "posted-labels.txt"  # in the folder of the log: a line a label, its puid and row
EVERY = 1000  # labels between two lines of progress


@dataclass
class Report:
    """How many labels were counted by the server, and what became of the others."""

    counted: int = 0
    earlier: int = 0  # posted before
    unknown: int = 0  # their request is not in the log
    skipped: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # by reason

    def __str__(self) -> str:
        """As a line for people."""
        others = {
            "posted before": self.earlier,
            "of no request in the log": self.unknown,
            **{f"skipped by the server ({why})": n for why, n in self.skipped.items()},
        }
        said = [f"{n} {what}" for what, n in others.items() if n]
        return "; ".join([f"{self.counted} labels counted", *said])


def post(env: Settings, file: str) -> Report:
    """Post every label of a file that was not posted before.

    Raises:
        UserError: there is no request log, or the file is not what it should be.
        ServerError: the server does not answer or refuses; give the file again to go on.
    """
    if env.request_log is None or not env.request_log.is_dir():
        raise UserError(
            "labels need the request log: start the server with REQUEST_LOG=folder, "
            "and name the same folder here"
        )
    wanted = _read(file)
    report = Report()
    posted = _posted(env.request_log)
    with posted.open("a", encoding="utf-8") as remembered:
        done = set(posted.read_text(encoding="utf-8").splitlines())
        for entry in request_log.entries(env.request_log):
            labels = wanted.pop(entry["puid"], None)
            if labels is None:
                continue
            puid, rows = entry["puid"], len(entry["inputs"])
            known = {row: truth for row, truth in labels.items() if row < rows}
            new = {row: truth for row, truth in known.items() if f"{puid} {row}" not in done}
            report.unknown += len(labels) - len(known)
            report.earlier += len(known) - len(new)
            if new:
                outcome = client.feedback(env.server_url, _feedback(entry, new))
                _tally(report, outcome, len(new))
                if outcome == client.COUNTED:  # what was not may be, by another server
                    remembered.writelines(f"{puid} {row}\n" for row in new)
                    remembered.flush()
    report.unknown += sum(map(len, wanted.values()))
    return report


def _tally(report: Report, outcome: str, labels: int) -> None:
    if outcome != client.COUNTED:
        report.skipped[outcome] += labels
        return
    before = report.counted // EVERY
    report.counted += labels
    if report.counted // EVERY > before:
        print(f"{report.counted} labels counted", file=sys.stderr, flush=True)


def _feedback(entry: dict, labels: dict[int, object]) -> dict:
    """Feedback about some rows of a logged request."""
    tags = {name: entry[name] for name in ("model_version", "answered_at")}
    if "prediction" in entry:
        tags["prediction"] = [entry["prediction"][row] for row in labels]
    return {
        "response": {
            "meta": {"puid": entry["puid"], "tags": tags},
            "data": {"ndarray": [entry["outputs"][row] for row in labels]},
        },
        "truth": {"data": {"ndarray": [[truth] for truth in labels.values()]}},
    }


def _read(file: str) -> dict[str, dict[int, object]]:
    """The labels by request and row."""
    table = _table(file)
    absent = {"puid", "truth"} - {*table.columns}
    if absent:
        raise UserError(f"{file}: no column {', '.join(sorted(absent))}; it has {[*table.columns]}")
    if "row" not in table.columns:
        table = table.assign(row=0)
    empty = table[["puid", "truth", "row"]].isna().any(axis=1)
    if empty.any():
        raise UserError(f"{file}: a value is missing in line {int(empty.to_numpy().argmax()) + 2}")
    rows = pd.to_numeric(table["row"], errors="coerce")
    wrong = rows.isna() | (rows < 0) | (rows % 1 != 0)
    if wrong.any():
        line = int(wrong.to_numpy().argmax()) + 2
        raise UserError(f"{file}: `row` in line {line} is not a row's number, counted from 0")
    twice = table.assign(row=rows).duplicated(["puid", "row"])
    if twice.any():
        line = int(twice.to_numpy().argmax()) + 2
        raise UserError(f"{file}: line {line} labels a row that an earlier line has labelled")
    found: dict[str, dict[int, object]] = defaultdict(dict)
    puids, truths = table["puid"].astype(str), table["truth"].tolist()  # Python's own numbers
    for puid, row, truth in zip(puids, rows.astype(int).tolist(), truths, strict=True):
        found[puid][row] = truth
    return found


def _table(file: str) -> pd.DataFrame:
    if not file:
        raise UserError("which labels? make labels FILE=labels.csv")
    try:
        if Path(file).suffix == ".parquet":
            return pd.read_parquet(file)
        return pd.read_csv(file, dtype={"puid": str})  # an id may look like a number
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: cannot be read: {error}") from error


def _posted(folder: Path) -> Path:
    path = folder / POSTED
    path.touch()
    return path
