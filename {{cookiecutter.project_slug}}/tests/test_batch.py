"""`make batch`: the model, the files and MLflow, wherever they are."""

import socket
from pathlib import Path

import example_model
import mlflow
import pandas as pd
import pytest
from servers import running

from {{ cookiecutter.package_name }} import batch, settings
from {{ cookiecutter.package_name }} import store as mlflow_store
from {{ cookiecutter.package_name }}.errors import UserError


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Ten rows, of which two are refused."""
    path = tmp_path / "rows.csv"
    path.write_text("mass,age,colour\n" + "11,36,red\n2,36,red\n3,20,red\n4,50,green\n5,,red\n"
                    + "2,36,red\n" * 5)  # fmt: skip
    return path


@pytest.fixture
def served(serve_python, example, tmp_path, store, monkeypatch):
    """Settings for a server with the example, beside an MLflow store."""
    with running(serve_python, example, tmp_path / "log") as server:
        monkeypatch.setenv("MODEL_URL", f"http://127.0.0.1:{server.port}")
        yield settings.load()


@pytest.mark.slow
def test_mlflow_keeps_the_drift(served, rows, tmp_path):
    scores = tmp_path / "scores.csv"

    report = batch.run(served, str(rows), str(scores), "champion")

    connected = mlflow_store.connect(served)
    experiment = connected.get_experiment_by_name(served.mlflow_experiment).experiment_id
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
    env = served.model_copy(update={"mlflow_tracking_uri": address})
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    batch.run(env, str(rows), str(tmp_path / "scores.csv"), "champion")

    assert len(pd.read_csv(tmp_path / "scores.csv")) == 8
    assert "MLflow does not keep the drift report" in capsys.readouterr().err


@pytest.mark.slow
def test_files_elsewhere_are_brought_and_sent(served, rows, tmp_path):
    there = tmp_path / "there"
    there.mkdir()

    report = batch.run(served, rows.as_uri(), (there / "scores.csv").as_uri(), "champion")

    assert len(pd.read_csv(there / "scores.csv")) == report.rows - report.refused
    assert pd.read_csv(there / "scores.refused.csv")["row"].tolist() == [0, 4]
    with pytest.raises(UserError, match=r"gone.csv: cannot be read"):
        batch.run(served, (there / "gone.csv").as_uri(), str(tmp_path / "s.csv"), "champion")


def test_a_missing_input_or_output_is_told(store):
    with pytest.raises(UserError, match="INPUT is not given"):
        batch.run(store, "", "scores.csv", "champion")
    with pytest.raises(UserError, match="OUTPUT is not given"):
        batch.run(store, "rows.csv", "", "champion")
