"""`make batch`: the model, the files and MLflow, wherever they are."""

import socket
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from modelloop import Project, UserError
from modelloop.batch import job
from modelloop.registry import store as mlflow_store
from modelloop.testing import example_model
from modelloop.testing.servers import Server, running


@pytest.fixture(scope="module")
def model_server(project, serve_python, example, tmp_path_factory) -> Iterator[Server]:
    """A server of the example."""
    log = tmp_path_factory.mktemp("server") / "log"
    with running(project, serve_python, example, log) as server:
        yield server


@pytest.fixture
def served(model_server, store, monkeypatch) -> Project:
    """The repository beside that server and an MLflow store of the test's own."""
    monkeypatch.setenv("MODEL_URL", f"http://127.0.0.1:{model_server.port}")
    return store


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Ten rows, of which two are refused."""
    path = tmp_path / "rows.csv"
    path.write_text("mass,age,colour\n" + "11,36,red\n2,36,red\n3,20,red\n4,50,green\n5,,red\n"
                    + "2,36,red\n" * 5)  # fmt: skip
    return path


@pytest.mark.slow
def test_mlflow_keeps_the_drift(served, rows, tmp_path):
    scores = tmp_path / "scores.csv"

    report = job.run(served, str(rows), str(scores), "champion")

    connected = mlflow_store.connect(served)
    experiment = connected.get_experiment_by_name(served.slug).experiment_id
    (run,) = connected.search_runs([experiment], "tags.kind = 'batch'")
    assert run.info.status == "FINISHED"
    assert run.data.tags["version"] == "3"
    assert run.data.metrics == {
        "rows": 10,
        "refused": 2,
        **{f"psi_{name}": pytest.approx(value) for name, value in report.psi.items()},
    }
    assert {*report.psi} == {*example_model.NAMES, "prediction"}
    kept = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="drift")
    folder = Path(kept)
    assert pd.read_csv(folder / "psi.csv")["psi"].tolist() == sorted(report.psi.values())[::-1]
    bins = pd.read_csv(folder / "bins.csv")
    assert bins.groupby("feature")["rows"].sum().unique().tolist() == [8]
    assert (folder / "psi.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_without_mlflow_the_scores_are_there_all_the_same(
    served, rows, tmp_path, monkeypatch, capsys
):
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    job.run(served, str(rows), str(tmp_path / "scores.csv"), "champion")

    assert len(pd.read_csv(tmp_path / "scores.csv")) == 8
    assert "MLflow does not keep the drift report" in capsys.readouterr().err


@pytest.mark.slow
def test_remote_files_are_downloaded_and_uploaded(served, rows, tmp_path):
    there = tmp_path / "there"
    there.mkdir()

    report = job.run(served, rows.as_uri(), (there / "scores.csv").as_uri(), "champion")

    assert len(pd.read_csv(there / "scores.csv")) == report.rows - report.refused
    assert pd.read_csv(there / "scores.refused.csv")["row"].tolist() == [0, 4]
    with pytest.raises(UserError, match=r"gone.csv: cannot be read"):
        job.run(served, (there / "gone.csv").as_uri(), str(tmp_path / "s.csv"), "champion")


def test_a_missing_input_or_output_is_named(project):
    with pytest.raises(UserError, match="INPUT is not given"):
        job.run(project, "", "scores.csv", "champion")
    with pytest.raises(UserError, match="OUTPUT is not given"):
        job.run(project, "rows.csv", "", "champion")
