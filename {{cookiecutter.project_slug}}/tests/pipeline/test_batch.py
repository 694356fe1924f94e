"""The cluster's batch pipeline does what `make batch` does."""

import example_model
import mlflow
import pandas as pd
import pytest
import yaml
from kfp import local

from {{ cookiecutter.package_name }} import registry, settings
from {{ cookiecutter.package_name }}.pipeline import batch
from {{ cookiecutter.package_name }}.pipeline.compiled import write
from {{ cookiecutter.package_name }}.pipeline.portable import faults
from {{ cookiecutter.package_name }}.store import connect


def test_the_batch_pipeline_runs_alike_everywhere_and_is_never_cached(tmp_path):
    path = write(batch.scoring, tmp_path / "batch.yaml")

    compiled, platforms = yaml.safe_load_all(path.read_text())
    assert faults(compiled) == []
    assert compiled["pipelineInfo"]["name"] == f"{registry.NAME}-batch"
    parameters = compiled["root"]["inputDefinitions"]["parameters"]
    assert {*parameters} == {"input", "output", "alias"}
    assert parameters["alias"]["defaultValue"] == registry.CHAMPION
    (task,) = compiled["root"]["dag"]["tasks"].values()
    assert task["cachingOptions"] == {}
    assert "MLFLOW_TRACKING_URI" in str(platforms)


@pytest.fixture
def champion(store, tmp_path) -> None:
    """The example is the champion, version 1 of the registry."""
    client = connect(store)
    folder = tmp_path / "model"
    folder.mkdir()
    example_model.make(folder)
    client.create_registered_model(registry.NAME)
    made = client.create_model_version(registry.NAME, source=folder.as_uri())
    client.set_registered_model_alias(registry.NAME, registry.CHAMPION, made.version)


def test_its_step_scores_a_file_with_the_registrys_model(store, champion, tmp_path, monkeypatch):
    monkeypatch.setenv("MODEL_URL", "")
    rows, scores = tmp_path / "rows.csv", tmp_path / "scores.parquet"
    rows.write_text("mass,age,colour\n2.5,36,red\n-1,36,red\n2.5,20,red\n")

    scored = batch.score.python_func(rows.as_uri(), str(scores), registry.CHAMPION)

    assert scored == 2
    assert pd.read_parquet(scores)["prediction"].round(4).tolist() == [10, 8]
    experiment = mlflow.get_experiment_by_name(store.mlflow_experiment).experiment_id
    (run,) = connect(store).search_runs([experiment], "tags.kind = 'batch'")
    assert run.data.metrics["refused"] == 1


def test_an_alias_without_a_version_is_told(store, tmp_path):
    rows = tmp_path / "rows.csv"
    rows.write_text("mass,age,colour\n2.5,36,red\n")
    with pytest.raises(registry.RegistryError, match="no @nobody version"):
        batch.score.python_func(str(rows), str(tmp_path / "scores.csv"), "nobody")


@pytest.mark.slow
def test_the_pipeline_runs_in_a_process_of_its_own(store, champion, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(settings.ROOT / "src"))
    rows, scores = tmp_path / "rows.csv", tmp_path / "scores.csv"
    rows.write_text("mass,age,colour\n2.5,36,red\n2.5,20,red\n")
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "artifacts"))

    batch.scoring(input=str(rows), output=str(scores), alias=registry.CHAMPION)

    assert pd.read_csv(scores)["prediction"].round(4).tolist() == [10, 8]
