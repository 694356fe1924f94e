"""Post late labels: join a file of them to the request log, and send each as feedback.

The file (CSV or Parquet) has the columns `puid` (the request's id), `truth`, and `row` where
requests have several rows. Posted labels are recorded beside the log, so a file can be posted
again after an error, or with more labels.
"""

import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from modelloop.errors import UserError
from modelloop.serving import client, request_log
from modelloop.settings import Settings

POSTED = "posted-labels.txt"  # in the folder of the log; a line is a label's puid and row
EVERY = 1000  # labels between two lines of progress


@dataclass
class Report:
    """How many labels the server counted, and why others were not."""

    counted: int = 0
    earlier: int = 0  # posted before
    unknown: int = 0  # their request is not in the log
    skipped: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # by reason

    def __str__(self) -> str:
        """One line for a terminal."""
        others = {
            "posted before": self.earlier,
            "of no request in the log": self.unknown,
            **{f"skipped by the server ({why})": labels for why, labels in self.skipped.items()},
        }
        parts = [f"{labels} {why}" for why, labels in others.items() if labels]
        return "; ".join([f"{self.counted} labels counted", *parts])


def post(env: Settings, file: str) -> Report:
    """Post every label of a file that was not posted before.

    Raises:
        UserError: there is no request log, or the file is faulty.
        ServerError: the server does not answer or refuses; post the file again to continue.
    """
    if env.request_log is None or not env.request_log.is_dir():
        raise UserError(
            "labels need the request log: start the server with REQUEST_LOG=folder, "
            "and name the same folder here"
        )
    by_request = _read(file)
    report = Report()
    path = env.request_log / POSTED
    with path.open("a", encoding="utf-8") as record:
        posted = set(path.read_text(encoding="utf-8").splitlines())
        for entry in _entries(env.request_log):
            puid, rows = entry["puid"], len(entry["inputs"])
            labels = by_request.pop(puid, None)
            if labels is None:
                continue
            known = {row: truth for row, truth in labels.items() if row < rows}
            new = {row: truth for row, truth in known.items() if f"{puid} {row}" not in posted}
            report.unknown += len(labels) - len(known)
            report.earlier += len(known) - len(new)
            if new:
                outcome = client.feedback(env.server_url, _feedback(entry, new))
                _tally(report, outcome, len(new))
                if outcome == client.COUNTED:  # another server may count the others
                    record.writelines(f"{puid} {row}\n" for row in new)
                    record.flush()
    report.unknown += sum(map(len, by_request.values()))
    return report


def _tally(report: Report, outcome: str, labels: int) -> None:
    if outcome != client.COUNTED:
        report.skipped[outcome] += labels
        return
    before = report.counted // EVERY
    report.counted += labels
    if report.counted // EVERY > before:
        print(f"{report.counted} labels counted", file=sys.stderr, flush=True)


def _entries(folder: Path) -> Iterator[dict[str, Any]]:
    yield from request_log.entries(folder)


def _feedback(entry: dict[str, Any], labels: dict[int, object]) -> dict[str, Any]:
    """The message about some rows of a logged request."""
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
    labels: dict[str, dict[int, object]] = defaultdict(dict)
    puids, truths = table["puid"].astype(str), table["truth"].tolist()  # Python's own numbers
    for puid, row, truth in zip(puids, rows.astype(int).tolist(), truths, strict=True):
        labels[puid][row] = truth
    return labels


def _table(file: str) -> pd.DataFrame:
    if not file:
        raise UserError("which labels? make labels FILE=labels.csv")
    try:
        if Path(file).suffix == ".parquet":
            return pd.read_parquet(file)
        return pd.read_csv(file, dtype={"puid": str})  # an id may look like a number
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: cannot be read: {error}") from error
