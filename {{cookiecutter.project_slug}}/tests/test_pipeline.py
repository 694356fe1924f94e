"""The pipeline: it compiles to what laptop and cluster run alike, and its steps fit together."""

import pytest
import yaml
from modelloop.kubeflow import compiled
from modelloop.training import steps

from {{ cookiecutter.package_name }} import model, pipeline, project

ORDER = ["ingest", "validate", "prepare", "train", "evaluate", "gate", "register", "close"]


@pytest.mark.parametrize("name", ["training", "scoring"])
def test_a_pipeline_compiles_for_a_cluster(name, tmp_path):
    path = compiled.write(getattr(pipeline, name), tmp_path / f"{name}.yaml")
    content = next(yaml.safe_load_all(path.read_text()))
    images = {
        executor["container"]["image"]
        for executor in content["deploymentSpec"]["executors"].values()
    }
    assert images == {project.image}


def test_the_training_has_every_step(tmp_path):
    path = compiled.write(pipeline.training, tmp_path / "training.yaml")
    content = next(yaml.safe_load_all(path.read_text()))
    executors = {name.removeprefix("exec-") for name in content["deploymentSpec"]["executors"]}
    assert executors >= {*ORDER}


def test_the_table_goes_through_the_steps_to_a_candidate(tmp_path):
    raw, valid, train, test = (str(tmp_path / name) for name in ("raw", "valid", "train", "test"))
    assert steps.ingest(project, raw) >= steps.validate(project, raw, valid)
    rows, test_rows = steps.prepare(project, valid, train, test)
    assert min(rows, test_rows) > 0
    candidate = steps.train(project, next(iter(model.CANDIDATES)), train, test)
    assert model.GATE.metric in candidate.test_metrics
    assert candidate.figures
