"""The notebook runs top to bottom in a process of its own, and shows what it says it shows."""

import math
import os
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

from {{ cookiecutter.package_name }} import model, project, registry, settings

ROOT = settings.ROOT
NOTEBOOK = ROOT / "notebooks" / "explore.ipynb"
METRIC = model.GATE.metric
SECONDS = 300
PICTURE, TABLE = "image/png", "text/html"
Outputs = dict[str, list[nbformat.NotebookNode]]  # of each cell, by its id


@pytest.fixture(autouse=True)
def pictures_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing Streamlit, as tests of the demo do, sets a backend that shows none."""
    monkeypatch.delenv("MPLBACKEND", raising=False)


def executed() -> nbformat.NotebookNode:
    """The notebook with its outputs; the kernel inherits the environment."""
    book = nbformat.read(NOTEBOOK, as_version=4)
    where = {"metadata": {"path": NOTEBOOK.parent}}
    return NotebookClient(book, timeout=SECONDS, resources=where).execute()


def outputs_of(book: nbformat.NotebookNode) -> Outputs:
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


def run(*arguments: str) -> str:
    """Run a command of the repository in this environment; returns what it printed."""
    command = [sys.executable, "-m", registry.__package__, *arguments]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_is_a_valid_notebook_without_outputs():
    book = nbformat.read(NOTEBOOK, as_version=nbformat.NO_CONVERT)
    code = [cell for cell in book.cells if cell.cell_type == "code"]

    nbformat.validate(book)

    assert (book.nbformat, book.nbformat_minor) == (4, 5)
    assert len({cell.id for cell in book.cells}) == len(book.cells)
    assert [cell.id for cell in code if cell.outputs or cell.execution_count] == []


@pytest.mark.slow
def test_it_shows_the_last_training_and_judges_a_candidate_against_the_champion(store):
    run("train")
    registry.promote(store)
    before = registry.version(store, registry.CHALLENGER)

    outputs = outputs_of(executed())

    assert complaints(outputs) == []
    assert project.PROBLEM_TYPE in printed(outputs, "setup")
    (schema,) = shown(outputs, "data", TABLE)
    assert [name for name in (*model.FEATURES, model.TARGET) if name not in schema] == []
    assert len(shown(outputs, "distributions", PICTURE)) == 1
    trainings, candidates = map(rows_of, shown(outputs, "runs", TABLE))
    assert [(row["status"], row["gate"], row["version"]) for row in trainings] == [
        ("FINISHED", "pass", "1")
    ]
    scores = {row["candidate"]: row[f"cross-validated {METRIC}"] for row in candidates}
    assert scores.keys() == model.CANDIDATES.keys()
    assert all(math.isfinite(float(score)) for score in scores.values())
    assert "champion version 1: " in printed(outputs, "champion")
    assert len(shown(outputs, "importance", PICTURE)) == 1
    assert len(shown(outputs, "errors", PICTURE)) == 1
    (slices,) = map(rows_of, shown(outputs, "errors", TABLE))
    assert all(math.isfinite(float(row[METRIC])) for row in slices)
    checks = checks_of(outputs)
    assert "champion version 1 has" in checks["champion"]
    assert len(checks) == len(slices) + 3  # floor, champion, latency
    after = registry.version(store, registry.CHALLENGER)
    assert (before.version, after.version) == (1, 1)  # it registered nothing


@pytest.mark.slow
@pytest.mark.usefixtures("store")
def test_without_a_training_it_says_what_to_do_and_goes_on():
    outputs = outputs_of(executed())

    assert complaints(outputs) == []
    assert "`make train`" in printed(outputs, "runs")
    assert "`make train promote`" in printed(outputs, "champion")
    assert (outputs["importance"], outputs["errors"]) == ([], [])
    assert "no champion yet: the floors alone decide" in checks_of(outputs)["champion"]


def test_the_hook_takes_outputs_out_and_nothing_else(tmp_path: Path):
    book = nbformat.read(NOTEBOOK, as_version=4)
    for number, cell in enumerate(book.cells):
        if cell.cell_type == "code":
            cell.execution_count = number
            cell.outputs = [nbformat.v4.new_output("stream", text="a secret")]
    book.metadata.language_info.version = "3.12.1"  # which differs from person to person
    changed = tmp_path / NOTEBOOK.name
    nbformat.write(book, changed)
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    (hook,) = [h for h in config["repos"][0]["hooks"] if h["id"] == "nbstripout"]
    program, *options = shlex.split(hook["entry"])
    found = shutil.which(Path(program).name, path=Path(sys.executable).parent)

    done = subprocess.run([found, *options, changed], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert changed.read_text(encoding="utf-8") == NOTEBOOK.read_text(encoding="utf-8")
