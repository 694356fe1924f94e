"""The five small changes of the library's page `changes`: applied as they are, and executed."""

import re
import subprocess
from pathlib import Path

import pytest
from conftest import BIN, ROOT, Bake, git
from repository import Repository
from test_loop import RUNS, own_render

pytestmark = pytest.mark.execute

PAGE = ROOT / "runtime" / "src" / "modelloop" / "docs" / "changes.md"
MOST_LINES = 10
CHANGES = dict(
    zip(
        ("step", "figure", "tag", "tab", "alert"),
        re.findall(r"^```diff\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE),
        strict=True,
    )
)
# Runs the step's body on a table of its own; prints the first line that it writes.
PROFILED = """
import json
from pathlib import Path
from types import SimpleNamespace
import pandas as pd
from penguins import pipeline
pd.DataFrame({"mass": [1.0, 3.0]}).to_parquet("build/profiled.parquet")
files = [SimpleNamespace(path=f"build/profiled.{end}") for end in ("parquet", "csv")]
pipeline.profile.python_func(*files)
print(json.dumps(Path(files[1].path).read_text().splitlines()[0].split(",")))
"""
# Serves the champion, prints the tags of an answer and the tabs of the page.
SERVED = """
import json, os
from streamlit.testing.v1 import AppTest
from modelloop import subprocesses
from modelloop.laptop import model_server
from modelloop.registry import versions
from modelloop.serving import client
from penguins import project
contract = versions.fetch(project, versions.CHAMPION, project.settings.model_dir)
port, metrics_port = subprocesses.free_ports(2)
os.environ["MODEL_URL"] = url = f"http://127.0.0.1:{port}"
with model_server.running(project, port, metrics_port):
    answer = client.predict(url, client.example(contract))
    page = AppTest.from_file("app/demo.py", default_timeout=60).run()
print(json.dumps({
    "tags": answer["meta"]["tags"],
    "trained_at": contract.provenance.trained_at,
    "golden": len(contract.golden),
    "tabs": [tab.label for tab in page.tabs],
    "exceptions": [exception.value for exception in page.exception],
    "shown": [len(tab.dataframe[0].value) for tab in page.tabs if tab.dataframe],
}, default=str))
"""


@pytest.mark.parametrize("diff", CHANGES.values(), ids=CHANGES)
def test_each_is_small_and_applies_alone(bake: Bake, tmp_path: Path, diff: str):
    lines = [line for line in diff.splitlines() if re.match(r"[+-](?!\+\+ |-- )", line)]
    assert 0 < sum(line[0] == "+" for line in lines) <= MOST_LINES
    path = tmp_path / "change.diff"
    path.write_text(diff)

    git(bake(), "apply", "--check", str(path))


@pytest.fixture(scope="module")
def changed(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A repository with the five changes, after its demo."""
    folder = tmp_path_factory.mktemp("changed")
    repository = own_render(template, folder, {})
    for name, diff in CHANGES.items():
        path = folder / f"{name}.diff"
        path.write_text(diff)
        git(repository.folder, "apply", str(path))
    done = repository.make("demo")
    assert done.returncode == 0, done.stdout + done.stderr
    repository.said = done.stdout + done.stderr
    repository.served = repository.ask(SERVED)
    return repository


class TestAllFive:
    def test_the_step_runs(self, changed: Repository):
        assert re.search(r"^ *done +profile ", changed.said, re.MULTILINE)
        assert changed.ask(PROFILED) == ["", "mass"]

    def test_the_figure_is_in_each_candidates_run(self, changed: Repository):
        candidates = [run for run in changed.ask(RUNS) if "mlflow.parentRunId" in run["tags"]]
        assert len(candidates) >= 2
        assert all("plots/overfit.png" in run["artifacts"] for run in candidates)

    def test_the_tag_is_in_an_answer(self, changed: Repository):
        assert changed.served["tags"]["trained_at"] == changed.served["trained_at"]

    def test_the_tab_shows_the_golden_rows(self, changed: Repository):
        assert changed.served["exceptions"] == []
        assert "Proof" in changed.served["tabs"]
        assert changed.served["golden"] in changed.served["shown"]

    def test_the_alert_fires_by_its_own_test_and_has_a_runbook(self, changed: Repository):
        changed.test("tests/test_rules.py", "tests/test_pipeline.py")

    def test_the_code_stays_clean(self, changed: Repository):
        for check in (["check"], ["format", "--check"]):
            done = subprocess.run(
                [BIN / "ruff", *check, "."],
                cwd=changed.folder,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stdout
