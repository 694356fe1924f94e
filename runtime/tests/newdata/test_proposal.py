"""The verbs new-data and eject-example, in small repositories."""

import os
import pty
import runpy
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import modelloop
from modelloop import Project, UserError
from modelloop.newdata import example, first_gate, proposal
from modelloop.table import columns
from small_repository import changed, git

ROWS = 300
WORDS = ["stays", "leaves"]
SOURCES = str(Path(modelloop.__file__).parents[1])


def table_of(problem_type: str) -> pd.DataFrame:
    random = np.random.default_rng(0)
    size = random.uniform(1, 9, ROWS).round(2)
    colour = random.choice(["red", "light blue", "green"], ROWS)
    value = size * 2 + (colour == "red") * 5 + random.normal(0, 1, ROWS)
    if problem_type == "classification":
        value = np.where(value > np.median(value), *WORDS)
    return pd.DataFrame(
        {
            "Kunden-Id": [f"k{i:04}" for i in random.permutation(ROWS)],
            'size, "inches"': np.where(random.random(ROWS) < 0.1, np.nan, size),
            "цвет": colour,
            "visits": random.integers(0, 30, ROWS),
            "source": "shop",
            "outcome": value,
        }
    )


@pytest.fixture
def table() -> pd.DataFrame:
    """Of a classification."""
    return table_of("classification")


@pytest.fixture
def csv(table, tmp_path, monkeypatch) -> Path:
    """The table in a file that DATA_URI names."""
    path = tmp_path / "our rows.csv"
    table.to_csv(path, index=False)
    monkeypatch.setenv("DATA_URI", str(path))
    return path


@contextmanager
def terminal(answers: str) -> Iterator[None]:
    """Standard input is a terminal at which these answers are typed."""
    ours, its = pty.openpty()
    os.write(ours, answers.encode())
    try:
        with os.fdopen(its) as stdin, pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdin", stdin)
            yield
    finally:
        os.close(ours)


def written(project: Project) -> tuple[dict[str, columns.ColumnRule], dict]:
    """The rules of data.py, by column, and the names of model.py, as the files are now."""
    schema = runpy.run_path(str(project.source("data")))["SCHEMA"]
    rules = columns.column_rules(schema, [*schema.columns])
    return {rule.name: rule for rule in rules}, runpy.run_path(str(project.source("model")))


def check(project: Project, *paths: str) -> None:
    """Lint, as `make check` does."""
    for verb in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *verb, *paths]
        done = subprocess.run(command, cwd=project.root, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_table_becomes_the_repositorys_own(either_repository, tmp_path, monkeypatch, capsys):
    project = either_repository
    table = table_of(project.problem_type)
    table.to_csv(tmp_path / "our rows.csv", index=False)
    before = {f"data/{path.name}" for path in project.tables}
    assert before

    with monkeypatch.context() as patch:
        patch.setenv("DATA_URI", str(tmp_path / "our rows.csv"))
        proposal.run(project, "", [], yes=True)

    printed = capsys.readouterr().out.splitlines()
    for name, role in (("Kunden-Id", "identifier"), ("source", "constant"), ("outcome", "target")):
        (line,) = (line for line in printed if line.startswith(f"{name} "))
        assert role in line
    own = {f"src/{project.package}/{name}.py" for name in ("data", "model")} | {"data/README.md"}
    assert changed(project) == own | {"data/our rows.csv"} | before
    assert Path(project.settings.data_uri).name == "our rows.csv"
    rules, model = written(project)
    assert model["TARGET"] == "outcome"
    assert model["FEATURES"] == ["цвет", 'size, "inches"', "visits"]
    assert [*model["CANDIDATES"]] == ["tree"]
    assert rules['size, "inches"'].nullable
    assert not rules["visits"].nullable
    assert rules["visits"].dtype == "int64"
    assert rules["visits"].minimum == 0
    assert rules["visits"].maximum > 29
    assert rules["цвет"].categories == ["green", "light blue", "red"]
    gate = model["GATE"]
    if project.problem_type == "classification":
        assert rules["outcome"].categories == sorted(WORDS)
        assert gate.metric == "accuracy"
        assert 0.5 < gate.floor < 1
    else:
        assert gate.metric == "rmse"
        assert 0 < gate.floor < table["outcome"].std()
    card = (project.root / "data" / "README.md").read_text(encoding="utf-8")
    assert "| Source | `our rows.csv` |" in card
    assert "| Rows | 300 |" in card
    assert '| size, "inches" | feature | float |' in card
    check(project, ".")

    git(project.root, "add", "--all")
    git(project.root, "commit", "--quiet", "--message=ours")
    proposal.run(project, "outcome", [], yes=True)
    assert changed(project) == set()


@pytest.mark.slow
def test_the_command_writes_what_it_proposes(repository, csv):
    done = subprocess.run(
        [sys.executable, "-m", "modelloop", "new-data", "--keep", "Kunden-Id", "--yes"],
        cwd=repository.root / "src",
        env=os.environ | {"PYTHONPATH": SOURCES},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    assert "Written: git diff shows it." in done.stdout
    _, model = written(repository)
    assert model["TARGET"] == "outcome"
    assert "Kunden-Id" in model["FEATURES"]


@pytest.mark.parametrize(
    ("answers", "yes"), [("outcome\ny\n", True), ("\nyes\n", True), ("\n\n", False)]
)
def test_it_asks_and_a_yes_is_needed(repository, csv, capsys, answers, yes):
    with terminal(answers):
        if yes:
            proposal.run(repository, "", [], yes=False)
        else:
            with pytest.raises(UserError, match=r"^nothing was written$"):
                proposal.run(repository, "", [], yes=False)

    assert "Which column is the target? [outcome]" in capsys.readouterr().out
    assert bool(changed(repository)) == yes


def test_without_a_terminal_there_is_no_yes(repository, csv):
    with pytest.raises(UserError, match=r"^nothing was written: ARGS=--yes writes it$"):
        proposal.run(repository, "outcome", [], yes=False)
    with pytest.raises(UserError, match=r"^which column is the target\? TARGET='outcome' is like"):
        proposal.run(repository, "", [], yes=False)
    assert changed(repository) == set()


def test_work_that_is_not_committed_is_never_lost(repository, csv):
    model = repository.source("model")
    model.write_text(model.read_text() + "# mine\n")
    name = f"src/{repository.package}/model.py"

    with pytest.raises(UserError, match=f"^{name} would be lost: commit the changes first$"):
        proposal.run(repository, "", [], yes=True)

    assert changed(repository) == {name}
    assert model.read_text().endswith("# mine\n")


def test_a_database_stays_where_it_is(repository, table, tmp_path, monkeypatch, capsys):
    with sqlite3.connect(tmp_path / "rows.db") as connection:
        table.to_sql("rows", connection, index=False)
    connection.close()
    monkeypatch.setenv("DATA_URI", f"sqlite:///{tmp_path / 'rows.db'}?timeout=9")
    monkeypatch.setenv("DATA_QUERY", "SELECT * FROM rows")

    proposal.run(repository, "", [], yes=True)

    assert "DATA_URI must name the table from now on" in capsys.readouterr().out
    assert repository.tables == []
    card = (repository.root / "data" / "README.md").read_text(encoding="utf-8")
    assert f"`sqlite:///{tmp_path / 'rows.db'}`" in card


def test_without_anything_to_learn_from_nothing_is_written(repository, table, csv):
    table[["Kunden-Id", "source", "outcome"]].to_csv(csv, index=False)
    with pytest.raises(UserError, match="no column is left to learn from: ARGS='--keep NAME'"):
        proposal.run(repository, "", [], yes=True)
    assert changed(repository) == set()


def test_the_example_goes_and_what_comes_next_is_said(either, tmp_path, capsys):
    copy = Project.at(shutil.copytree(either.root, tmp_path / either.slug, symlinks=True))
    assert copy.tables

    example.eject(copy)

    assert "make new-data DATA_URI=table.csv" in capsys.readouterr().out
    assert copy.tables == []
    assert (copy.root / "data" / "README.md").read_text().startswith("# Data\n")
    rules, model = written(copy)
    assert rules == {}
    assert (model["TARGET"], model["FEATURES"]) == ("", [])
    assert (
        model["GATE"].metric
        == {"classification": "accuracy", "regression": "rmse"}[either.problem_type]
    )
    check(copy, *(str(copy.source(name)) for name in ("data", "model")))
    with pytest.raises(UserError, match="the example is gone already"):
        example.eject(copy)


def test_an_example_with_changes_stays(project, tmp_path):
    copy = Project.at(shutil.copytree(project.root, tmp_path / project.slug, symlinks=True))
    card = copy.root / "data" / "README.md"
    card.write_text(card.read_text() + "\nOurs.\n")

    with pytest.raises(UserError, match=r"^data/README\.md would be lost: commit"):
        example.eject(copy)

    assert changed(copy) == {"data/README.md"}


@pytest.mark.slow
def test_tests_without_an_example_say_what_comes_next(project, tmp_path):
    copy = Project.at(shutil.copytree(project.root, tmp_path / project.slug, symlinks=True))
    example.eject(copy)

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q"],
        cwd=copy.root,
        env=os.environ | {"PYTHONPATH": SOURCES},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 1
    assert "model.py has no TARGET yet: data/README.md says what comes next" in done.stdout


@pytest.mark.parametrize(
    ("low", "high", "whole", "expected"),
    [
        (32.1, 59.6, False, (18, 74)),
        (0.0, 199.0, True, (0, 300)),
        (0.02, 0.91, False, (0, 1.36)),
        (-5.0, 5.0, False, (-10, 10)),
        (-9.0, -1.0, False, (-13, 0)),
        (1e6, 3e6, False, (0, 4_000_000)),
        (0.001, 0.0035, False, (0, 0.0048)),
        (7.0, 9.0, True, (6, 10)),
    ],
)
def test_limits_are_wider_than_the_values_in_round_numbers(low, high, whole, expected):
    found = proposal.limits(low, high, 100, whole=whole)
    assert found == expected
    assert {type(bound) for bound in found} <= {int, float}


def test_between_two_whole_numbers_there_is_nothing():
    assert proposal.limits(0.0, 1.0, 2, whole=True) == (0, 1)


@pytest.mark.parametrize(
    ("metric", "baseline", "scores", "floor", "failing"),
    [
        ("accuracy", 0.5, (0.9, 0.95), 0.7, ""), ("accuracy", 0.5, (0.4, 0.9), 0.5, "a"),
        ("rmse", 8.0, (3.0, 4.0), 6.0, ""), ("rmse", 8.0, (4.0, 9.0), 8.0, "b"),
    ],
)  # fmt: skip
def test_the_first_floor_is_half_of_the_way(metric, baseline, scores, floor, failing):
    by_candidate = dict(zip("ab", scores, strict=True))
    gate = first_gate.FirstGate(metric, baseline, by_candidate, {metric: metric == "accuracy"})
    assert gate.floor == pytest.approx(floor)
    assert gate.failing == [*failing]
    assert f"floor={floor!r}," in gate.source


@pytest.mark.parametrize(("share", "allowed"), [(0, 0.01), (0.001, 0.01), (0.1, 0.15), (0.9, 1)])
def test_half_more_rows_may_be_there_twice_than_are(share, allowed):
    assert proposal.duplicates_source(share).startswith(f"DUPLICATES = {allowed}  # ")
