"""A table that nobody has seen becomes a repository that is checked, tested and trained."""

import re
import subprocess
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from random import Random

import pytest
from conftest import fresh, git
from repository import Repository

pytestmark = pytest.mark.slow

Table = dict[str, list]
# Tests of the library that read a repository's data or its model, beside the repository's own.
OF_DATA = (
    "tests/training/test_steps.py",
    "tests/serving/test_metrics.py",
    "tests/serving/test_payload.py",
    "tests/serving/test_predictor.py",
)
OF_MODEL = (
    *OF_DATA,
    *("tests/training", "tests/app", "tests/contract", "tests/batch/test_job.py"),
    *("tests/batch/test_file.py", "tests/release/test_images.py"),
)
ALL = (
    *OF_MODEL,
    *("tests/serving", "tests/kubeflow", "tests/registry", "tests/newdata"),
    "tests/repository/test_notebook.py",
)
# Words in the names of those that ask for what a repository need not have.
OF_CATEGORIES, OF_CLASSES = "categor", "the_label_is"
OF_THE_EXAMPLE = ("the_example_goes", "an_example_with_changes")


@pytest.mark.parametrize(
    ("name", "target", "left_out", "library", "without"),
    [
        (
            "members",
            "left?",
            {
                "Kunden-Nr. Id": "identifier",
                "since": "date",
                "why closed": "leak",
                "source": "constant",
            },
            ALL,
            OF_THE_EXAMPLE,
        ),
        ("plants", "grade", {}, OF_DATA, ()),
        ("houses", "price", {"price in cents": "leak"}, OF_DATA, (OF_CLASSES,)),
    ],
)
def test_a_table_is_learnt_from_after_one_yes(
    template: Path,
    tmp_path: Path,
    name: str,
    target: str,
    left_out: dict[str, str],
    library: tuple[str, ...],
    without: tuple[str, ...],
):
    problem_type = "regression" if name == "houses" else "classification"
    repository = Repository(fresh(template, tmp_path, {"problem_type": problem_type}), problem_type)
    write(TABLES[name](), tmp_path / "table.csv")

    done = repository.make(
        "new-data", DATA_URI=str(tmp_path / "table.csv"), TARGET=target, ARGS="--yes"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    roles = dict(re.findall(r"^(\S.*?)  +(\w+)  +", done.stdout, re.MULTILINE))
    not_learnt = {n: role for n, role in roles.items() if role not in ("role", "feature")}
    assert not_learnt == {target: "target"} | left_out

    assert repository.make("check").returncode == 0
    git(repository.folder, "add", "--all")
    hook = [repository.python.with_name("pre-commit"), "run", "whitespace"]
    hooked = subprocess.run(hook, cwd=repository.folder, capture_output=True, text=True)
    assert hooked.returncode == 0, hooked.stdout
    repository.test(minutes=20)
    repository.test_library(*library, without=without)
    trained = repository.make("train")
    assert trained.returncode == 0, trained.stdout + trained.stderr
    assert "gate: pass" in trained.stdout


def write(table: Table, path: Path) -> None:
    """Write columns as a CSV file with the line ends of Windows; None is missing."""
    rows = [[*table], *zip(*table.values(), strict=True)]
    cells = ([quoted(value) for value in row] for row in rows)
    text = "".join(",".join(row) + "\r\n" for row in cells)
    path.write_text(text, encoding="utf-8", newline="")


def quoted(value: object) -> str:
    """A value as CSV has it."""
    return "" if value is None else '"' + str(value).replace('"', '""') + '"'


def some_missing(values: list, chance: Random, share: float) -> list:
    """Take some of the values away."""
    return [None if chance.random() < share else value for value in values]


def members(n: int = 800) -> Table:
    """Two classes, one of a fifth; odd names, booleans, dates, missing values, a leak."""
    chance = Random(1)
    age, visits, plan = (
        [chance.randint(18, 89) for _ in range(n)],
        [chance.randint(0, 199) for _ in range(n)],
        chance.choices(["basic", "pro", 'it\'s "free"'], k=n),
    )
    wish = [
        0.05 * a + 2 * (p == "pro") - v / 60 + chance.gauss(0, 0.6)
        for a, p, v in zip(age, plan, visits, strict=True)
    ]
    left = [w > sorted(wish)[n * 4 // 5] for w in wish]
    return {
        "Kunden-Nr. Id": chance.sample(range(n), n),
        'Alter in "Jahren"': some_missing(age, chance, 0.1),
        "tariff's plan": some_missing(plan, chance, 0.1),
        "посещения": visits,
        "城市": [f"Ort {chance.randint(1, 12)}" for _ in range(n)],
        "is member": [chance.random() < 0.3 for _ in range(n)],
        "since": [date(2020, 1, 1) + timedelta(chance.randint(0, 900)) for _ in range(n)],
        "why closed": ["gone" if gone else "active" for gone in left],
        "source": ["crm"] * n,
        "left?": ["yes" if gone else "no" for gone in left],
    }


def plants(n: int = 1000) -> Table:
    """Three classes that are numbers, counts, and a category of many values."""
    chance = Random(2)
    leaf, stem = ([round(chance.gauss(0, 1), 3) for _ in range(n)] for _ in range(2))
    return {
        "leaf": leaf,
        "stem": some_missing(stem, chance, 0.05),
        "flowers": [chance.randint(0, 9) for _ in range(n)],
        "plot": [f"plot {chance.randint(1, 150):03}" for _ in range(n)],
        "grade": [1 + (a + b > 0) + (a > 0.6) for a, b in zip(leaf, stem, strict=True)],
    }


def houses(n: int = 900) -> Table:
    """A number to predict, with its copy in another unit."""
    chance = Random(3)
    area = [round(chance.uniform(20, 200), 1) for _ in range(n)]
    rooms = [chance.randint(1, 7) for _ in range(n)]
    quarter = chance.choices(["north", "south", "west"], k=n)
    price = [
        round(3000 * a + 20_000 * r + 90_000 * (q == "west") + chance.gauss(0, 20_000))
        for a, r, q in zip(area, rooms, quarter, strict=True)
    ]
    return {
        "area, m2": some_missing(area, chance, 0.05),
        "rooms": rooms,
        "quarter": quarter,
        "balcony": some_missing([chance.random() < 0.5 for _ in range(n)], chance, 0.1),
        "price in cents": [value * 100 for value in price],
        "price": price,
    }


TABLES: dict[str, Callable[[], Table]] = {"members": members, "plants": plants, "houses": houses}
