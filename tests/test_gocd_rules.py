"""The stand-in for a GoCD server keeps GoCD's rules."""

from pathlib import Path

import pytest
import yaml
from conftest import commit, git
from gocd import Ran, RefusedError, Server

Task = dict[str, object]


def execute(*words: str, **options: str) -> Task:
    return {"exec": {"command": words[0], "arguments": [*words[1:]], **options}}


def run(folder: Path, stages: dict[str, dict], **trigger: str) -> Ran:
    """Run a pipeline with one job a stage, each given as its `tasks` and more."""
    repository = folder / "repository"
    repository.mkdir()
    (repository / "file").touch()
    git(repository, "init", "--quiet")
    commit(repository, "A file")
    listed = [
        {name: {"jobs": {"job": job}, "environment_variables": job.pop("variables", {})}}
        for name, job in stages.items()
    ]
    config = folder / "x.gocd.yaml"
    config.write_text(yaml.safe_dump({"pipelines": {"p": {"stages": listed}}}))
    agent = {"PATH": "/usr/bin:/bin", "OF_AGENT": "yes"}
    secrets = {("store", "key"): "revealed"}
    server = Server(config, repository, folder / "server", agent, secrets, lambda _: None)
    return server.run("p", **trigger)


def test_each_job_has_a_fresh_clone(tmp_path: Path):
    ran = run(
        tmp_path,
        {
            "first": {"tasks": [execute("test", "-e", "file"), execute("touch", "left")]},
            "second": {"tasks": [execute("test", "-e", "left")]},
            "third": {"tasks": [execute("true")]},
        },
    )
    assert ran.stages == {"first": "passed", "second": "failed"}


def test_only_artifacts_go_from_job_to_job(tmp_path: Path):
    build = {"build": {"source": "made", "destination": "kept"}}
    fetch = {"stage": "first", "job": "job", "source": "kept/made", "destination": "in"}
    ran = run(
        tmp_path,
        {
            "first": {"tasks": [execute("touch", "made")], "artifacts": [build]},
            "second": {"tasks": [{"fetch": fetch}, execute("test", "-e", "in/made")]},
            "third": {"tasks": [{"fetch": fetch | {"source": "kept/other"}}]},
        },
    )
    assert ran.stages == {"first": "passed", "second": "passed", "third": "failed"}


@pytest.mark.parametrize(("kind", "outcome"), [("build", "failed"), ("test", "passed")])
def test_a_missing_artifact_fails_a_job_only_where_it_is_a_build(
    tmp_path: Path, kind: str, outcome: str
):
    artifact = {kind: {"source": "nothing"}}
    ran = run(tmp_path, {"first": {"tasks": [execute("true")], "artifacts": [artifact]}})
    assert ran.stages == {"first": outcome}
    assert "nothing cannot be published" in ran.log["first/job"]


def test_a_task_for_failures_runs_after_one_and_heals_nothing(tmp_path: Path):
    tasks = [
        execute("false"),
        execute("echo", "not run"),
        execute("echo", "on failure", run_if="failed"),
        execute("echo", "in any case", run_if="any"),
    ]
    ran = run(tmp_path, {"first": {"tasks": tasks}})
    assert ran.stages == {"first": "failed"}
    assert ran.log["first/job"] == "on failure\nin any case\n"


def test_there_is_no_shell(tmp_path: Path):
    ran = run(tmp_path, {"first": {"tasks": [execute("echo", "$OF_AGENT", "&&", "false")]}})
    assert ran.log["first/job"] == "$OF_AGENT && false\n"


def test_variables_of_the_trigger_win_where_they_are_declared(tmp_path: Path):
    stages = {
        "first": {
            "tasks": [execute("printenv", "REASON", "KEY")],
            "variables": {"REASON": "none", "KEY": "{{SECRET:[store][key]}}"},
        },
        "second": {"tasks": [execute("printenv", "REASON")]},
    }
    ran = run(tmp_path, stages, REASON="drift")
    assert ran.log["first/job"] == "drift\nrevealed\n"
    assert ran.stages == {"first": "passed", "second": "failed"}


def test_a_variable_that_nothing_declares_is_refused(tmp_path: Path):
    with pytest.raises(RefusedError, match=r"422 .*REASON"):
        run(tmp_path, {"first": {"tasks": [execute("true")]}}, REASON="drift")
