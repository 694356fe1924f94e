import pytest
from kfp.local import subprocess_task_handler as handler

from {{ cookiecutter.package_name }}.pipeline import warm


def test_this_kfp_has_the_private_function_that_the_warm_runner_replaces():
    assert warm.fits() == ""


@pytest.mark.parametrize("broken", [lambda command: 0, None])
def test_another_kfp_is_told_apart(monkeypatch, broken):
    monkeypatch.setattr(handler, "run_local_subprocess", broken)
    if broken is None:
        monkeypatch.delattr(handler, "run_local_subprocess")
    assert "run_local_subprocess" in warm.fits()


def test_kfp_builds_the_command_that_the_warm_runner_takes_apart():
    from {{ cookiecutter.package_name }}.pipeline.components import train

    container = train.pipeline_spec.deployment_spec["executors"]["exec-train"]["container"]
    source, arguments = warm.split_command([*container["command"], *container["args"]])
    assert "def train(" in source
    assert arguments[::2] == ["--executor_input", "--function_to_execute"]


def test_a_step_is_named_with_its_candidate():
    inputs = '{"inputs": {"parameterValues": {"candidate": "forest"}}}'
    arguments = ["--executor_input", inputs, "--function_to_execute", "train"]
    assert warm.step_name(arguments) == "train forest"
    assert warm.step_name(["--executor_input", "{}", "--function_to_execute", "gate"]) == "gate"
