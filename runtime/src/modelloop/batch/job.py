"""Score a file of any size: `make batch INPUT=rows.csv OUTPUT=scores.parquet`.

docs/batch.md describes the output. This module finds the model, transfers the files and logs the
drift to MLflow; file.py scores.
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

from modelloop.addresses import without_credentials
from modelloop.batch import drift, file, scoring
from modelloop.batch.file import Report
from modelloop.batch.scoring import Scorer
from modelloop.errors import UserError
from modelloop.project import Project
from modelloop.registry import store, versions
from modelloop.table import chunks


def run(project: Project, rows: str, scores: str, alias: str) -> Report:
    """Score a file with the registry's model, or with the server at MODEL_URL; log its drift.

    Args:
        project: the repository.
        rows: the CSV or Parquet file to score, a path or an address that fsspec knows.
        scores: the file to write, likewise.
        alias: of a version in the registry.

    Raises:
        UserError: a file cannot be used, or there is no such version.
        ServerError: the server does not answer; the same command resumes the job.
    """
    for which, address in (("INPUT", rows), ("OUTPUT", scores)):
        if not address:
            raise UserError(f"{which} is not given: make batch INPUT=rows.csv OUTPUT=scores.csv")
        chunks.ending(address)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        source = _downloaded(rows, scratch)
        target = _local(scores) or scratch / PurePosixPath(scores).name
        report = file.score(_scorer(project, alias, scratch / "model"), source, target)
        if not _local(scores):
            _upload(report, scores)
    _log_drift(project, report, rows, scores)
    return report


def _scorer(project: Project, alias: str, folder: Path) -> Scorer:
    env = project.settings
    if env.model_url:
        return scoring.Endpoint(env.server_url)
    versions.fetch(project, alias, folder)
    return scoring.LocalModel(project, folder)


def _local(address: str) -> Path | None:
    """The address as a path; None for one that fsspec must resolve, such as s3://."""
    return None if urlsplit(address).scheme else Path(address)


def _downloaded(address: str, scratch: Path) -> Path:
    """The path itself, or that of a copy of a remote file."""
    copy = scratch / f"rows{chunks.ending(address)}"
    return _local(address) or _transfer(
        address, "read", copy, lambda files, path: files.get_file(path, str(copy))
    )


def _upload(report: Report, address: str) -> None:
    """Upload refusals and scores, the scores last: where they are, the job is complete."""
    for local in (report.refusals, report.output):
        remote = address.removesuffix(report.output.name) + local.name
        if local.exists():
            _transfer(
                remote, "written", local, lambda files, path, f=local: files.put_file(str(f), path)
            )


def _transfer(address: str, verb: str, local: Path, copy: Callable[..., None]) -> Path:
    """Let `copy(file system, path)` move a file between an address and a local path."""
    try:
        files, path = fsspec.url_to_fs(address)
        copy(files, path)
    except (OSError, ValueError, ImportError) as error:
        shown = without_credentials(address)
        reason = (str(error) or type(error).__name__).replace(address, shown).splitlines()[0]
        raise UserError(f"{shown}: cannot be {verb}: {reason}") from error
    return local


def _log_drift(project: Project, report: Report, rows: str, scores: str) -> None:
    """Log the drift to MLflow; a failure is a warning only, for the scores are complete."""
    # By default MLflow retries for several minutes; one is enough.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    try:
        connected = store.connect(project)
        tags = {"kind": "batch", "version": report.contract.version}
        experiment = store.experiment_id(project, connected)
        run = connected.create_run(experiment, run_name="batch", tags=tags).info.run_id
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
    """The PSIs as CSV, the largest first."""
    table = pd.DataFrame(psi.items(), columns=["feature", "psi"])
    return table.sort_values("psi", ascending=False).to_csv(index=False)
