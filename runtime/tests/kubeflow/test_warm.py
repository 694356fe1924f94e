"""The warm runner relies on private parts of kfp; these tests notice when they change."""

import json
from pathlib import Path

import pytest
from kfp import dsl
from kfp.local import subprocess_task_handler as handler

from modelloop.kubeflow import warm
from modelloop.kubeflow.warm import StepResult, WarmRunner


def test_this_kfp_has_the_private_function_that_the_warm_runner_replaces():
    assert warm.misfit() == ""


@pytest.mark.parametrize("broken", [lambda command: 0, None])
def test_another_kfp_is_recognised(monkeypatch, broken):
    monkeypatch.setattr(handler, "run_local_subprocess", broken)
    if broken is None:
        monkeypatch.delattr(handler, "run_local_subprocess")
    assert "run_local_subprocess" in warm.misfit()


def test_kfp_builds_the_command_that_the_warm_runner_takes_apart(project):
    train = project.pipeline.train
    container = train.pipeline_spec.deployment_spec["executors"]["exec-train"]["container"]
    source, arguments = warm.split_command([*container["command"], *container["args"]])
    assert "def train(" in source
    assert arguments[::2] == ["--executor_input", "--function_to_execute"]


def test_a_step_is_named_with_its_candidate():
    inputs = '{"inputs": {"parameterValues": {"candidate": "forest"}}}'
    arguments = ["--executor_input", inputs, "--function_to_execute", "train"]
    assert warm.step_name(arguments) == "train forest"
    assert warm.step_name(["--executor_input", "{}", "--function_to_execute", "gate"]) == "gate"


@dsl.component(base_image="registry.example.com/x-python:1", install_kfp_package=False)
def double(candidate: str) -> str:
    if candidate == "none":
        raise ValueError("there is no candidate")
    return candidate * 2


def command(candidate: str, output: Path) -> list[str]:
    """What kfp runs for the component `double`."""
    executors = double.pipeline_spec.deployment_spec["executors"]
    container = executors["exec-double"]["container"]
    executor_input = {
        "inputs": {"parameterValues": {"candidate": candidate}},
        "outputs": {"outputFile": str(output)},
    }
    words = [*container["command"], *container["args"]]
    return [json.dumps(executor_input) if word == "{{$}}" else word for word in words]


def test_steps_run_one_by_one_until_the_runner_is_stopped(tmp_path):
    ended: list[StepResult] = []
    runner = WarmRunner(tmp_path, ended.append)
    try:
        assert runner(command("a/b", tmp_path / "first")) == 0
        assert runner(command("none", tmp_path / "second")) == 1
        runner.stop()
        assert runner(command("c", tmp_path / "third")) == 1
    finally:
        runner.close()
    made = json.loads((tmp_path / "first").read_text())
    assert made["parameterValues"] == {"Output": "a/ba/b"}
    assert [(step.name, step.succeeded) for step in ended] == [
        ("double a/b", True),
        ("double none", False),
    ]
    assert "there is no candidate" in ended[1].log.read_text()
    assert not (tmp_path / "third").exists()
