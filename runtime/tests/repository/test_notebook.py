"""The notebook runs top to bottom in a process of its own, and shows what it says it shows."""

import importlib
import math
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import pytest
import yaml
from nbclient import NotebookClient

from modelloop import Project
from modelloop.registry import versions
from modelloop.training import steps

SECONDS = 300
PICTURE, TABLE = "image/png", "text/html"
Outputs = dict[str, list[nbformat.NotebookNode]]  # of each cell, by its id


@pytest.fixture(autouse=True)
def pictures_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing Streamlit, as tests of the demo do, sets a backend that shows none."""
    monkeypatch.delenv("MPLBACKEND", raising=False)


def notebook(project: Project) -> Path:
    return project.root / "notebooks" / "explore.ipynb"


def executed(project: Project) -> Outputs:
    """What the cells show; the kernel inherits the environment."""
    book = nbformat.read(notebook(project), as_version=4)
    where = {"metadata": {"path": notebook(project).parent}}
    NotebookClient(book, timeout=SECONDS, resources=where).execute()
    return {cell.id: cell.outputs for cell in book.cells if cell.cell_type == "code"}


def printed(outputs: Outputs, cell: str) -> str:
    return "".join(o.text for o in outputs[cell] if o.output_type == "stream")


def shown(outputs: Outputs, cell: str, kind: str) -> list[str]:
    return [o.data[kind] for o in outputs[cell] if kind in o.get("data", {})]


def rows_of(table: str) -> list[dict[str, str]]:
    """The rows of a data frame that a cell shows; its index has the empty name."""
    text = table[table.index("<table") : table.index("</table>") + len("</table>")]
    head, *body = ElementTree.fromstring(text).iter("tr")
    names = [cell.text or "" for cell in head]
    return [dict(zip(names, (cell.text or "" for cell in row), strict=True)) for row in body]


def complaints(outputs: Outputs) -> list[str]:
    return [o.text for cell in outputs.values() for o in cell if o.get("name") == "stderr"]


def checks_of(outputs: Outputs) -> dict[str, str]:
    """The lines of the gate's table, by check."""
    *lines, verdict = printed(outputs, "gate").splitlines()
    assert verdict in ("gate: pass", "gate: reject")
    found = {line.removeprefix("FAIL").removeprefix("ok").strip(): line for line in lines}
    assert verdict == ("gate: reject" if "FAIL" in "".join(lines) else "gate: pass")
    return {text.partition("  ")[0]: line for text, line in found.items()}


def train(project: Project, candidates: list[str], folder: Path) -> None:
    """A training of some candidates: the steps of the pipeline, in this process."""
    tracking = importlib.import_module(f"{project.package}.tracking")
    names = ("raw", "valid", "train", "test", "evaluated", "decided", "registered")
    raw, valid, train_rows, test_rows, evaluated, decided, registered = (
        str(folder / name) for name in names
    )
    run_id = tracking.open_run("a-run")
    steps.ingest(project, raw)
    steps.validate(project, raw, valid)
    steps.prepare(project, valid, train_rows, test_rows)
    summaries = []
    for name in candidates:
        with tracking.candidate_run(run_id, name):
            trained = steps.train(project, name, train_rows, test_rows)
            summaries.append(trained.summary(tracking.log_candidate(trained)))
    found = steps.evaluate(project, summaries, train_rows, test_rows, run_id, "a-run", evaluated)
    tracking.log_evaluation(run_id, found)
    tracking.log_decision(run_id, steps.gate(project, evaluated, decided))
    tracking.log_version(run_id, steps.register(project, decided, registered).version)
    tracking.close_run("a-run", succeeded=True)


def test_it_is_a_valid_notebook_without_outputs(project: Project):
    book = nbformat.read(notebook(project), as_version=nbformat.NO_CONVERT)
    code = [cell for cell in book.cells if cell.cell_type == "code"]

    nbformat.validate(book)

    assert (book.nbformat, book.nbformat_minor) == (4, 5)
    assert len({cell.id for cell in book.cells}) == len(book.cells)
    assert [cell.id for cell in code if cell.outputs or cell.execution_count] == []


@pytest.mark.slow
@pytest.mark.usefixtures("store")
def test_it_shows_the_last_training_and_judges_a_candidate_against_the_champion(
    either: Project, tmp_path: Path
):
    model, metric = either.model, either.model.GATE.metric
    first_two = [*model.CANDIDATES][:2]
    train(either, first_two, tmp_path)
    versions.promote(either)
    before = versions.version(either, versions.CHALLENGER)

    outputs = executed(either)

    assert complaints(outputs) == []
    assert either.problem_type in printed(outputs, "setup")
    (schema,) = shown(outputs, "data", TABLE)
    assert [name for name in (*model.FEATURES, model.TARGET) if name not in schema] == []
    assert len(shown(outputs, "distributions", PICTURE)) == 1
    trainings, candidates = map(rows_of, shown(outputs, "runs", TABLE))
    assert [(row["status"], row["gate"], row["version"]) for row in trainings] == [
        ("FINISHED", "pass", "1")
    ]
    scores = {row["candidate"]: row[f"cross-validated {metric}"] for row in candidates}
    assert scores.keys() == {*first_two}
    assert all(math.isfinite(float(score)) for score in scores.values())
    assert "champion version 1: " in printed(outputs, "champion")
    assert len(shown(outputs, "importance", PICTURE)) == 1
    assert len(shown(outputs, "errors", PICTURE)) == 1
    (slices,) = map(rows_of, shown(outputs, "errors", TABLE))
    assert all(math.isfinite(float(row[metric])) for row in slices)
    checks = checks_of(outputs)
    assert "champion version 1 has" in checks["champion"]
    assert len(checks) == len(slices) + 3  # floor, champion, latency
    after = versions.version(either, versions.CHALLENGER)
    assert (before.version, after.version) == (1, 1)  # it registered nothing


@pytest.mark.slow
@pytest.mark.usefixtures("store")
def test_without_a_training_it_says_what_to_do_and_goes_on(project: Project):
    outputs = executed(project)

    assert complaints(outputs) == []
    assert "`make train`" in printed(outputs, "runs")
    assert "`make train promote`" in printed(outputs, "champion")
    assert (outputs["importance"], outputs["errors"]) == ([], [])
    assert "no champion yet: the floors alone decide" in checks_of(outputs)["champion"]


def test_the_hook_takes_outputs_out_and_nothing_else(project: Project, tmp_path: Path):
    original = notebook(project)
    book = nbformat.read(original, as_version=4)
    for number, cell in enumerate(book.cells):
        if cell.cell_type == "code":
            cell.execution_count = number
            cell.outputs = [nbformat.v4.new_output("stream", text="a secret")]
    book.metadata.language_info.version = "3.12.1"  # which differs from person to person
    changed = tmp_path / original.name
    nbformat.write(book, changed)
    config = yaml.safe_load((project.root / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    (hook,) = [h for h in config["repos"][0]["hooks"] if h["id"] == "nbstripout"]
    program, *options = shlex.split(hook["entry"])
    found = shutil.which(Path(program).name, path=Path(sys.executable).parent)

    done = subprocess.run([found, *options, changed], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert changed.read_text(encoding="utf-8") == original.read_text(encoding="utf-8")
