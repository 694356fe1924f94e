"""A pipeline that laptop and cluster would run differently is refused."""

import pytest
import yaml
from kfp import compiler, dsl

from modelloop.errors import UserError
from modelloop.kubeflow.compiled import write
from modelloop.kubeflow.portable import faults

IMAGE = "registry.example.com/x-python:1"


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def number() -> int:
    return 1


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def two() -> int:
    return 2


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def add(a: int, b: int) -> int:
    return a + b


@dsl.component(base_image="python:latest")
def installs() -> int:
    return 1


def ir_of(tmp_path, pipeline) -> dict:
    path = tmp_path / "pipeline.yaml"
    compiler.Compiler().compile(dsl.pipeline(name="test")(pipeline), str(path))
    return next(yaml.safe_load_all(path.read_text()))


@pytest.mark.parametrize("name", ["training", "scoring"])
def test_a_repositorys_pipelines_run_alike_everywhere(either, name, tmp_path):
    written = write(getattr(either.pipeline, name), tmp_path / "pipeline.yaml")
    ir, platforms = yaml.safe_load_all(written.read_text())
    assert faults(ir, platforms) == []
    dags = [ir["root"], *(part for part in ir["components"].values() if "dag" in part)]
    tasks = {task for dag in dags for task in dag["dag"]["tasks"]}
    wanted = {
        "training": {"ingest", "validate", "prepare", "train", "evaluate", "gate", "register"},
        "scoring": {"score"},
    }
    assert wanted[name] <= tasks
    assert platforms["platforms"]["kubernetes"]


def test_what_is_not_portable_is_not_written(tmp_path):
    @dsl.pipeline(name="test")
    def pipeline():
        installs()

    with pytest.raises(UserError, match="installs packages when it runs"):
        write(pipeline, tmp_path / "pipeline.yaml")
    assert not (tmp_path / "pipeline.yaml").exists()


def test_a_loop_that_reads_a_parameter_of_a_step_is_found(tmp_path):
    def pipeline():
        first = number()
        with dsl.ParallelFor([1, 2]) as item:
            add(a=item, b=first.output)

    assert any("gives it the loop item" in f for f in faults(ir_of(tmp_path, pipeline)))


def test_a_condition_on_a_named_output_is_found(tmp_path):
    from typing import NamedTuple

    @dsl.component(base_image=IMAGE, install_kfp_package=False)
    def named() -> NamedTuple("Out", [("verdict", str)]):
        return ("pass",)

    def pipeline():
        with dsl.If(named().outputs["verdict"] == "pass"):
            two()

    assert any("takes it for False" in f for f in faults(ir_of(tmp_path, pipeline)))


def test_what_installs_or_floats_at_run_time_is_found(tmp_path):
    def pipeline():
        installs()

    found = faults(ir_of(tmp_path, pipeline))
    assert any("installs packages" in f for f in found)
    assert any("no fixed tag" in f for f in found)


def test_a_container_component_is_found(tmp_path):
    @dsl.container_component
    def container():
        return dsl.ContainerSpec(image=IMAGE, command=["true"])

    def pipeline():
        container()

    assert any("not a lightweight Python component" in f for f in faults(ir_of(tmp_path, pipeline)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MLFLOW_TRACKING_PASSWORD", "hunter2"),
        ("URL", "https://me:hunter2@example.com"),
        ("KEY", "AKIA" + "A" * 16),
    ],
)
def test_a_secret_in_the_pipeline_is_found(tmp_path, name, value):
    def pipeline():
        number().set_env_variable(name, value)

    assert any("secret" in fault.lower() for fault in faults(ir_of(tmp_path, pipeline)))
