"""The stand-in for a GoCD server keeps GoCD's rules."""

from pathlib import Path

import pytest
import yaml
from conftest import commit, git
from gocd import AgentDiedError, Ran, RefusedError, Server

Task = dict[str, object]


def execute(*words: str, **options: str) -> Task:
    return {"exec": {"command": words[0], "arguments": [*words[1:]], **options}}


def run(folder: Path, stages: dict[str, dict], **trigger: str) -> Ran:
    """Run a pipeline with one job a stage, each given as its `tasks` and more."""
    return server(folder, p=stages).run("p", **trigger)


def server(folder: Path, **pipelines: dict[str, dict]) -> Server:
    """A server with these pipelines; q, where there is one, follows stage `first` of p."""
    repository = folder / "repository"
    repository.mkdir()
    (repository / "file").touch()
    git(repository, "init", "--quiet")
    commit(repository, "A file")
    written = {}
    for pipeline, stages in pipelines.items():
        listed = [
            {
                name: {
                    "jobs": {"job": job},
                    "environment_variables": job.pop("variables", {}),
                    "approval": job.pop("approval", "success"),
                }
            }
            for name, job in stages.items()
        ]
        materials = {"up": {"pipeline": "p", "stage": "first"}} if pipeline == "q" else {}
        written[pipeline] = {
            "stages": listed,
            "materials": materials,
            "lock_behavior": "unlockWhenFinished",
        }
    config = folder / "x.gocd.yaml"
    config.write_text(yaml.safe_dump({"pipelines": written}))
    agent = {"PATH": "/usr/bin:/bin", "OF_AGENT": "yes"}
    secrets = {("store", "key"): "revealed"}
    return Server(config, repository, folder / "server", agent, secrets, lambda _: None)


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


BY_HAND = {"type": "manual", "allow_only_on_success": "true", "roles": ["releasers"]}


def test_a_stage_by_hand_waits_for_somebody_who_may(tmp_path: Path):
    stages = {
        "first": {"tasks": [execute("true")]},
        "second": {"tasks": [execute("true")], "approval": BY_HAND},
        "third": {"tasks": [execute("true")]},
    }
    found = server(tmp_path, p=stages)
    ran = found.run("p")
    assert ran.stages == {"first": "passed"}
    with pytest.raises(RefusedError, match="403"):
        found.start(ran, "second", roles=("others",))
    found.start(ran, "second", roles=("releasers",))
    assert ran.stages == {"first": "passed", "second": "passed", "third": "passed"}


def test_a_stage_by_hand_is_refused_after_a_failure(tmp_path: Path):
    stages = {
        "first": {"tasks": [execute("false")]},
        "second": {"tasks": [execute("true")], "approval": BY_HAND},
    }
    found = server(tmp_path, p=stages)
    ran = found.run("p")
    with pytest.raises(RefusedError, match="406 Cannot schedule second as first has Failed"):
        found.start(ran, "second", roles=("releasers",))


def test_a_pipeline_starts_where_the_stage_that_it_follows_has_passed(tmp_path: Path):
    build = {"build": {"source": "made"}}
    fetch = {"fetch": {"pipeline": "p", "stage": "first", "job": "job", "source": "made"}}
    p = {"first": {"tasks": [execute("touch", "made")], "artifacts": [build]}}
    q = {"only": {"tasks": [fetch, execute("test", "-e", "made")]}}
    found = server(tmp_path, p=p, q=q)
    assert found.downstream(found.run("p")) == ["q"]
    assert found.run("q").stages == {"only": "passed"}


def test_nothing_follows_a_stage_that_failed(tmp_path: Path):
    found = server(tmp_path, p={"first": {"tasks": [execute("false")]}}, q={"only": {"tasks": []}})
    assert found.downstream(found.run("p")) == []


def test_a_cancelled_job_runs_what_is_for_that_and_nothing_else(tmp_path: Path):
    on_cancel = execute("echo", "taken back")
    tasks = [
        {"exec": {"command": "sleep", "arguments": ["60"], "on_cancel": on_cancel}},
        execute("echo", "on failure", run_if="failed"),
    ]
    stages = {"first": {"tasks": [execute("true")]}, "second": {"tasks": tasks}}
    stages["second"]["approval"] = "manual"
    stages["third"] = {"tasks": [execute("true")]}
    found = server(tmp_path, p=stages)
    ran = found.run("p")
    found.start(ran, "second", cancel=lambda: True)
    assert ran.stages == {"first": "passed", "second": "cancelled"}
    assert ran.log["second/job"] == "taken back\n"


def test_the_job_of_an_agent_that_dies_is_run_again_by_another(tmp_path: Path):
    tasks = [execute("sh", "-c", f"test -e {tmp_path}/twice || sleep 60")]
    stages = {"first": {"tasks": [execute("true")]}, "second": {"tasks": tasks}}
    stages["second"]["approval"] = "manual"
    found = server(tmp_path, p=stages)
    ran = found.run("p")
    with pytest.raises(AgentDiedError):
        found.start(ran, "second", die=lambda: True)
    assert "second" not in ran.stages
    (tmp_path / "twice").touch()
    found.start(ran, "second")
    assert ran.stages["second"] == "passed"


def test_a_pipeline_that_runs_is_locked(tmp_path: Path):
    refused = []

    def again() -> bool:
        if not refused:
            with pytest.raises(RefusedError) as raised:
                found.run("p")
            refused.append(str(raised.value))
        return False

    stages = {"first": {"tasks": [execute("true")]}, "second": {"tasks": [execute("sleep", "0.2")]}}
    stages["second"]["approval"] = "manual"
    found = server(tmp_path, p=stages)
    found.start(found.run("p"), "second", cancel=again)
    assert refused == ["409 Pipeline p is locked"]
