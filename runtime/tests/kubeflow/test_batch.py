"""The cluster's batch pipeline does what `make batch` does."""

import mlflow
import pandas as pd
import pytest
import yaml
from kfp import local

from modelloop.kubeflow import warm
from modelloop.registry import versions
from modelloop.registry.store import connect
from modelloop.testing import example_model


def test_the_batch_pipeline_has_its_defaults_and_is_never_cached(project, compiled):
    text = (compiled / "first" / "batch.yaml").read_text()
    pipeline, platforms = yaml.safe_load_all(text)
    assert pipeline["pipelineInfo"]["name"] == f"{project.slug}-batch"
    parameters = pipeline["root"]["inputDefinitions"]["parameters"]
    assert {*parameters} == {"input", "output", "alias"}
    assert parameters["alias"]["defaultValue"] == versions.CHAMPION
    (task,) = pipeline["root"]["dag"]["tasks"].values()
    assert task["cachingOptions"] == {}
    assert "MLFLOW_TRACKING_URI" in str(platforms)


@pytest.fixture
def champion(store, tmp_path) -> None:
    """The example is the champion, version 1 of the registry."""
    client = connect(store)
    folder = tmp_path / "model"
    folder.mkdir()
    example_model.make(folder)
    client.create_registered_model(store.slug)
    created = client.create_model_version(store.slug, source=folder.as_uri())
    client.set_registered_model_alias(store.slug, versions.CHAMPION, created.version)


def test_its_step_scores_a_file_with_the_registrys_model(store, champion, tmp_path, monkeypatch):
    monkeypatch.setenv("MODEL_URL", "")
    rows, scores = tmp_path / "rows.csv", tmp_path / "scores.parquet"
    rows.write_text("mass,age,colour\n2.5,36,red\n-1,36,red\n2.5,20,red\n")
    score = store.pipeline.score.python_func

    scored = score(rows.as_uri(), str(scores), versions.CHAMPION)

    assert scored == 2
    assert pd.read_parquet(scores)["prediction"].round(4).tolist() == [10, 8]
    experiment = mlflow.get_experiment_by_name(store.settings.mlflow_experiment).experiment_id
    (run,) = connect(store).search_runs([experiment], "tags.kind = 'batch'")
    assert run.data.metrics["refused"] == 1


def test_an_alias_without_a_version_is_an_error(store, tmp_path):
    rows = tmp_path / "rows.csv"
    rows.write_text("mass,age,colour\n2.5,36,red\n")
    score = store.pipeline.score.python_func
    with pytest.raises(versions.RegistryError, match="no @nobody version"):
        score(str(rows), str(tmp_path / "scores.csv"), "nobody")


@pytest.mark.slow
def test_the_pipeline_runs_in_a_process_of_its_own(store, champion, tmp_path):
    rows, scores = tmp_path / "rows.csv", tmp_path / "scores.csv"
    rows.write_text("mass,age,colour\n2.5,36,red\n2.5,20,red\n")
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "artifacts"))

    with warm.imports_inherited():
        store.pipeline.scoring(input=str(rows), output=str(scores), alias=versions.CHAMPION)

    assert pd.read_csv(scores)["prediction"].round(4).tolist() == [10, 8]
