"""The verbs as people start them, in a copy of this repository."""

import json
import os
import pty
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from {{ cookiecutter.package_name }} import first_gate, new_data, project, settings
from {{ cookiecutter.package_name }}.roles import Found

PACKAGE = settings.__package__
ROOT = settings.ROOT
ROWS = 300
CLASSIFIES = project.PROBLEM_TYPE == "classification"
WORDS = ["stays", "leaves"]

# What is read and written anew: a team's own files may have another shape, which is refused.
DATA = '''"""The data."""

import pandas as pd
import pandera.pandas as pa

from .tables import read_table

SCHEMA = pa.DataFrameSchema({"kind": pa.Column(str), "size": pa.Column(float)})
DUPLICATES = 0.01


def load(uri: str, query: str = "") -> pd.DataFrame:
    """Load the table."""
    return read_table(uri, query)
'''
MODEL = '''"""The model."""

from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier

from .training.gate import Gate
from .training.split import by_content

TARGET = "kind"
CATEGORIES: list[str] = []
NUMBERS = ["size"]
FEATURES = CATEGORIES + NUMBERS

TEST_SHARE = 0.25
SPLIT = by_content()
WEIGHT = None
SEED = 7
GATE = Gate(metric="accuracy", floor=0.9, margin=0.1, latency_ms=50.0)


def tree() -> Pipeline:
    """A small tree."""
    columns = ColumnTransformer(
        [
            ("numbers", SimpleImputer(strategy="median"), NUMBERS),
            ("categories", OneHotEncoder(handle_unknown="ignore"), CATEGORIES),
        ]
    )
    return make_pipeline(columns, DecisionTreeClassifier(max_depth=5, random_state=SEED))


CANDIDATES = {"tree": tree}
'''
if not CLASSIFIES:
    MODEL = MODEL.replace("Classifier", "Regressor").replace("accuracy", "rmse")


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.com")
    command = ["git", *who, "-c", f"core.hooksPath={os.devnull}", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def as_it_is(tmp_path_factory) -> Path:
    """This repository, with one commit."""
    folder = tmp_path_factory.mktemp("repository")
    for name in ("src", "data", "pyproject.toml", ".gitignore"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=first")
    return folder


@pytest.fixture
def repository(as_it_is, tmp_path) -> Path:
    """The same with other data.py and model.py."""
    folder = shutil.copytree(as_it_is, tmp_path / "repository")
    for name, text in (("data.py", DATA), ("model.py", MODEL)):
        (folder / "src" / PACKAGE / name).write_text(text)
    git(folder, "commit", "--quiet", "--all", "--message=second")
    return folder


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    random = np.random.default_rng(0)
    size = random.uniform(1, 9, ROWS).round(2)
    colour = random.choice(["red", "light blue", "green"], ROWS)
    value = size * 2 + (colour == "red") * 5 + random.normal(0, 1, ROWS)
    if CLASSIFIES:
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
def csv(table, tmp_path) -> str:
    path = tmp_path / "our rows.csv"
    table.to_csv(path, index=False)
    return str(path)


def run(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", PACKAGE, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder / "src"), **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def typed(folder: Path, answers: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run it at a terminal, at which somebody types."""
    ours, its = pty.openpty()
    os.write(ours, answers.encode())
    try:
        return subprocess.run(
            [sys.executable, "-m", PACKAGE, "new-data"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(folder / "src"), **variables},
            stdin=its,
            capture_output=True,
            text=True,
        )
    finally:
        os.close(ours)
        os.close(its)


def changed(folder: Path) -> set[str]:
    lines = git(folder, "-c", "core.quotePath=off", "status", "--porcelain", "-uall").splitlines()
    return {line[3:].strip('"') for line in lines}


def asked(folder: Path) -> dict:
    """What data.py and model.py say now."""
    code = (
        "import json; from pathlib import Path\n"
        f"from {PACKAGE} import columns, data, model, settings\n"
        "from dataclasses import asdict\n"
        "rules = columns.column_rules(data.SCHEMA, [*data.SCHEMA.columns])\n"
        "print(json.dumps({'rules': [asdict(rule) for rule in rules], 'target': model.TARGET,\n"
        "  'features': model.FEATURES, 'metric': model.GATE.metric, 'floor': model.GATE.floor,\n"
        "  'candidates': [*model.CANDIDATES], 'table': Path(settings.load().data_uri).name}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder / "src")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_a_table_becomes_the_repositorys_own(repository, csv, table):
    before = {path.name for path in (repository / "data").glob("*.csv")}
    done = run(repository, "new-data", "--yes", DATA_URI=csv)
    assert done.returncode == 0, done.stderr
    for name, role in (("Kunden-Id", "identifier"), ("source", "constant"), ("outcome", "target")):
        (line,) = (line for line in done.stdout.splitlines() if line.startswith(f"{name} "))
        assert role in line

    own = {f"src/{PACKAGE}/data.py", f"src/{PACKAGE}/model.py", "data/README.md"}
    assert changed(repository) == own | {"data/our rows.csv"} | {f"data/{name}" for name in before}
    now = asked(repository)
    assert (now["target"], now["table"]) == ("outcome", "our rows.csv")
    assert now["features"] == ["цвет", 'size, "inches"', "visits"]
    assert now["candidates"] == ["tree"]
    rules = {rule["name"]: rule for rule in now["rules"]}
    assert rules['size, "inches"']["nullable"]
    assert not rules["visits"]["nullable"]
    assert rules["visits"]["dtype"] == "int64"
    assert rules["visits"]["minimum"] == 0
    assert rules["visits"]["maximum"] > 29
    assert rules["цвет"]["categories"] == ["green", "light blue", "red"]
    if CLASSIFIES:
        assert rules["outcome"]["categories"] == sorted(WORDS)
        assert now["metric"] == "accuracy"
        assert 0.5 < now["floor"] < 1
    else:
        assert now["metric"] == "rmse"
        assert 0 < now["floor"] < table["outcome"].std()

    card = (repository / "data" / "README.md").read_text(encoding="utf-8")
    assert "| Source | `our rows.csv` |" in card
    assert "| Rows | 300 |" in card
    assert '| size, "inches" | feature | float |' in card
    ruff = [sys.executable, "-m", "ruff"]
    for check in (["check"], ["format", "--check"]):
        subprocess.run([*ruff, *check, "."], cwd=repository, check=True)
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message=ours")
    again = run(repository, "new-data", "--yes", "--target", "outcome")
    assert again.returncode == 0, again.stderr
    assert changed(repository) == set()


@pytest.mark.slow
@pytest.mark.parametrize(("answers", "written"), [("outcome\ny\n", True), ("\n\n", False)])
def test_it_asks_and_a_yes_is_needed(repository, csv, answers, written):
    done = typed(repository, answers, DATA_URI=csv)
    assert "Which column is the target? [outcome]" in done.stdout
    assert done.returncode == (0 if written else 1), done.stderr
    assert bool(changed(repository)) == written
    assert written or done.stderr == "error: nothing was written\n"


@pytest.mark.slow
def test_without_a_terminal_nobody_has_said_yes(repository, csv):
    done = run(repository, "new-data", "--target", "outcome", DATA_URI=csv)
    assert done.stderr == "error: nothing was written: ARGS=--yes writes it\n"
    done = run(repository, "new-data", DATA_URI=csv)
    assert done.stderr == "error: which column is the target? TARGET='outcome' is likely\n"
    assert changed(repository) == set()


@pytest.mark.slow
def test_work_that_is_not_committed_is_never_lost(repository, csv):
    path = repository / "src" / PACKAGE / "model.py"
    path.write_text(path.read_text() + "# mine\n")
    done = run(repository, "new-data", "--yes", DATA_URI=csv)
    assert done.returncode == 1
    assert f"src/{PACKAGE}/model.py would be lost: commit the changes first" in done.stderr
    assert changed(repository) == {f"src/{PACKAGE}/model.py"}


@pytest.mark.slow
def test_a_database_stays_where_it_is(repository, table, tmp_path):
    with sqlite3.connect(tmp_path / "rows.db") as connection:
        table.to_sql("rows", connection, index=False)
    uri = f"sqlite:///{tmp_path / 'rows.db'}?timeout=9"
    done = run(repository, "new-data", "--yes", DATA_URI=uri, DATA_QUERY="SELECT * FROM rows")
    assert done.returncode == 0, done.stderr
    assert "DATA_URI must name the table from now on" in done.stdout
    assert not [*(repository / "data").glob("*.csv")]
    card = (repository / "data" / "README.md").read_text(encoding="utf-8")
    assert f"`sqlite:///{tmp_path / 'rows.db'}`" in card


@pytest.mark.slow
def test_without_anything_to_learn_from_nothing_is_written(repository, table, tmp_path):
    table[["Kunden-Id", "source", "outcome"]].to_csv(tmp_path / "few.csv", index=False)
    done = run(repository, "new-data", "--yes", DATA_URI=str(tmp_path / "few.csv"))
    assert "error: no column is left to learn from: ARGS='--keep NAME'" in done.stderr
    assert changed(repository) == set()


@pytest.mark.slow
def test_the_example_goes_and_what_comes_next_is_said(as_it_is, tmp_path):
    repository = shutil.copytree(as_it_is, tmp_path / "repository")
    shutil.copytree(ROOT / "tests", repository / "tests")
    if not (repository / "data" / "penguins.csv").exists():
        done = run(repository, "eject-example")
        assert "error: the example is gone already" in done.stderr
        return
    done = run(repository, "eject-example")
    assert done.returncode == 0, done.stderr
    assert "make new-data DATA_URI=table.csv" in done.stdout
    assert not [*(repository / "data").glob("*.csv")]
    assert asked(repository)["features"] == []
    for check in (["check"], ["format", "--check"]):
        subprocess.run([sys.executable, "-m", "ruff", *check, "."], cwd=repository, check=True)

    tests = [sys.executable, "-m", "pytest", "-q", "tests"]
    done = subprocess.run(tests, cwd=repository, capture_output=True, text=True)
    assert done.returncode == 1
    assert "model.py has no TARGET yet: data/README.md says what comes next" in done.stdout
    assert "error: the example is gone already" in run(repository, "eject-example").stderr


@pytest.mark.parametrize(
    ("low", "high", "dtype", "expected"),
    [
        (32.1, 59.6, "float", (18, 74)),
        (0, 199, "int", (0, 300)),
        (0.02, 0.91, "float", (0, 1.36)),
        (-5.0, 5.0, "float", (-10, 10)),
        (-9.0, -1.0, "float", (-13, 0)),
        (1e6, 3e6, "float", (0, 4_000_000)),
        (0.001, 0.0035, "float", (0, 0.0048)),
        (7, 9, "int", (6, 10)),
    ],
)
def test_limits_are_wider_than_the_values_in_round_numbers(low, high, dtype, expected):
    found = new_data.limits(Found("x", "feature", "number", dtype, 0, 100, low, high))
    assert found == expected
    assert {type(bound) for bound in found} <= {int, float}


def test_between_two_whole_numbers_there_is_nothing():
    assert new_data.limits(Found("x", "feature", "number", "int", 0, 2, 0.0, 1.0)) == (0, 1)


@pytest.mark.parametrize(
    ("metric", "guess", "scores", "floor", "failing"),
    [
        ("accuracy", 0.5, (0.9, 0.95), 0.7, ""), ("accuracy", 0.5, (0.4, 0.9), 0.5, "a"),
        ("rmse", 8.0, (3.0, 4.0), 6.0, ""), ("rmse", 8.0, (4.0, 9.0), 8.0, "b"),
    ],
)  # fmt: skip
def test_the_first_floor_is_half_of_the_way(metric, guess, scores, floor, failing, monkeypatch):
    higher = metric == "accuracy"
    monkeypatch.setattr(first_gate.problem, "HIGHER_IS_BETTER", {metric: higher})
    gate = first_gate.FirstGate(metric, guess, dict(zip("ab", scores, strict=True)))
    assert gate.floor == pytest.approx(floor)
    assert gate.failing == [*failing]
    assert f"floor={floor!r}," in gate.source


@pytest.mark.parametrize(("found", "allowed"), [(0, 0.01), (0.001, 0.01), (0.1, 0.15), (0.9, 1)])
def test_half_more_rows_may_be_there_twice_than_are(found, allowed):
    assert new_data.duplicates(found).startswith(f"DUPLICATES = {allowed}  # ")
