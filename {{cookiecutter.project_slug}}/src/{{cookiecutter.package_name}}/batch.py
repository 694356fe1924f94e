"""Score a file of any size: `make batch INPUT=rows.csv OUTPUT=scores.parquet`.

docs/batch.md says what comes out. Here is where the model, the files and MLflow are; the work
itself is in batch_file.py.
"""

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import fsspec
import pandas as pd
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from . import batch_file, chunks, registry, scoring, store
from .addresses import without_credentials
from .batch_file import Report
from .errors import UserError
from .monitoring import drift
from .scoring import Scorer
from .settings import Settings


def run(env: Settings, rows: str, scores: str, alias: str) -> Report:
    """Score a file with the registry's model, or with the server at MODEL_URL; keep its drift.

    Args:
        env: where registry or server are.
        rows: path, or address that fsspec knows, of a CSV or Parquet file.
        scores: the same, of the file to write.
        alias: which version of the registry's.

    Raises:
        UserError: a file is not what it should be; the message says what is.
        ServerError: the server does not answer; given again, the command goes on.
    """
    for which, address in (("INPUT", rows), ("OUTPUT", scores)):
        if not address:
            raise UserError(f"{which} is not given: make batch INPUT=rows.csv OUTPUT=scores.csv")
        chunks.ending(address)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        source = _fetched(rows, scratch)
        target = _here(scores) or scratch / PurePosixPath(scores).name
        report = batch_file.score(_scorer(env, alias, scratch / "model"), source, target)
        if not _here(scores):
            _send(report, scores)
    _keep(env, report, rows, scores)
    return report


def _scorer(env: Settings, alias: str, folder: Path) -> Scorer:
    if env.model_url:
        return scoring.Endpoint(env.server_url)
    registry.fetch(env, alias, folder)
    return scoring.LocalModel(folder)


def _here(address: str) -> Path | None:
    """The path that an address is, None where it is one for fsspec, such as s3://."""
    return None if urlsplit(address).scheme else Path(address)


def _fetched(address: str, scratch: Path) -> Path:
    """The file at an address: itself where it is a path, else a copy."""
    copy = scratch / f"rows{chunks.ending(address)}"
    return _here(address) or _moved(
        address, "read", copy, lambda files, path: files.get_file(path, str(copy))
    )


def _send(report: Report, address: str) -> None:
    """Put the files of a report where the address says; whole ones only, the scores last."""
    for made in (report.refusals, report.output):
        there = address.removesuffix(report.output.name) + made.name
        if made.exists():
            _moved(there, "written", made, lambda files, path, m=made: files.put_file(str(m), path))


def _moved(address: str, verb: str, local: Path, move: Callable[..., None]) -> Path:
    try:
        files, path = fsspec.url_to_fs(address)
        move(files, path)
    except (OSError, ValueError, ImportError) as error:
        shown = without_credentials(address)
        reason = (str(error) or type(error).__name__).replace(address, shown).splitlines()[0]
        raise UserError(f"{shown}: cannot be {verb}: {reason}") from error
    return local


def _keep(env: Settings, report: Report, rows: str, scores: str) -> None:
    """Keep the drift in MLflow. The scores are there already: nothing here takes them back."""
    # A minute is enough to find out that there is no MLflow; by default it takes several.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    try:
        connected = store.connect(env)
        experiment = connected.get_experiment_by_name(env.mlflow_experiment)
        tags = {"kind": "batch", "version": report.contract.version}
        made = connected.create_run(experiment.experiment_id, run_name="batch", tags=tags)
        run = made.info.run_id
        connected.log_param(run, "input", without_credentials(rows))
        connected.log_param(run, "output", without_credentials(scores))
        connected.log_metric(run, "rows", report.rows)
        connected.log_metric(run, "refused", report.refused)
        for name, value in report.psi.items():
            connected.log_metric(run, drift.metric(name), value)
        connected.log_text(run, _table(report.psi), "drift/psi.csv")
        connected.log_text(run, report.bins.to_csv(index=False), "drift/bins.csv")
        connected.log_figure(run, drift.plot(report.psi), "drift/psi.png")
        connected.set_terminated(run)
    except (MlflowException, SQLAlchemyError, OSError) as error:
        reason = str(error).splitlines()[0]
        print(f"warning: MLflow does not keep the drift report: {reason}", file=sys.stderr)


def _table(psi: dict[str, float]) -> str:
    """The indices as CSV, the largest first."""
    table = pd.DataFrame(psi.items(), columns=["feature", "psi"])
    return table.sort_values("psi", ascending=False).to_csv(index=False)
