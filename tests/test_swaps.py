"""A team's own data and model are two files and a table: whatever they are, the rest follows.

Each folder in swaps/ holds the two files; swaps/tables.py makes the tables.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import commit, fresh, git
from repository import ENVIRONMENTS, Repository
from test_loop import PACKAGE, aliases, processes_in
from test_new_data import OF_CATEGORIES, OF_CLASSES, OF_DATA, OF_MODEL

pytestmark = pytest.mark.slow

SWAPS = Path(__file__).parent / "swaps"
Swapped = tuple[Repository, str]

# The table as a file to score, and how many of its rows have everything that a model may ask for.
ROWS = f"""
import json
from {PACKAGE} import data, model, project
env = project.settings
rows = data.load(env.data_uri, env.data_query).drop(columns=model.TARGET)
rows.to_csv("build/rows.csv", index=False)
print(json.dumps([len(rows), [*rows.columns]]))
"""


def swapped_in(template: Path, folder: Path, swap: type["Swap"]) -> Repository:
    """Render, and write two files and a table in place of the example's."""
    answers = {"problem_type": swap.problem_type}
    repository = Repository(fresh(template, folder, answers), swap.problem_type)
    package = repository.folder / "src" / PACKAGE
    for file in ("data.py", "model.py"):
        shutil.copy(SWAPS / swap.name / file, package / file)
    (repository.folder / "data" / "penguins.csv").unlink()
    subprocess.run(
        [repository.python, SWAPS / "tables.py", swap.name, repository.folder / "data"],
        env=repository.environment | {"PYTHONPATH": str(ENVIRONMENTS / "swaps")},
        check=True,
    )
    if swap.package:
        trust(repository, swap.package)
    commit(repository.folder, "Our data, our model")
    return repository


def trust(repository: Repository, package: str) -> None:
    """Add a package for training and server, without its locks: it is found in `boosted`."""
    for name in ("main.in", "serve.in"):
        with (repository.folder / "requirements" / name).open("a") as file:
            file.write(f"{package}\n")
    features = repository.folder / "src" / PACKAGE / "features.py"
    before, trusts, after = features.read_text().partition("TRUSTED_PACKAGES: tuple[str, ...] = (")
    features.write_text(f'{before}{trusts}"{package}",{after}')
    repository.add_packages("boosted")


@pytest.fixture(scope="class")
def swapped(
    request: pytest.FixtureRequest, template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Swapped]:
    """A repository with the class's data and model after its demo, and what the demo printed."""
    folder = tmp_path_factory.mktemp("swap")
    repository = swapped_in(template, folder, request.cls)
    done = repository.make("demo")
    assert done.returncode == 0, done.stdout + done.stderr
    yield repository, done.stdout
    assert processes_in(repository.folder) == []


class Swap:
    """What holds of every data set and model."""

    name: str
    problem_type: str
    package = ""  # that candidates and server need beside the template's
    form = "onnx"  # in which the champion is served
    library: tuple[str, ...] = OF_DATA  # tests of the library that hold for it
    without: tuple[str, ...] = ()  # words in the names of those that cannot

    def test_two_files_and_a_table_are_all_that_changed(self, swapped: Swapped):
        repository, _ = swapped
        changed = git(repository.folder, "diff", "--name-only", "HEAD~1").splitlines()
        files = {Path(path).name for path in changed} - {"data.py", "model.py", "penguins.csv"}
        if self.package:
            assert files > {"features.py", "main.in", "serve.in"}
            files -= {"features.py", "main.in", "serve.in"}
        assert len(files) == 1
        assert files.pop().startswith(f"{self.name}.")

    def test_the_checks_pass(self, swapped: Swapped):
        repository, _ = swapped
        done = repository.make("check")
        assert done.returncode == 0, done.stdout + done.stderr

    def test_the_tests_that_come_with_the_repository_pass(self, swapped: Swapped):
        repository, _ = swapped
        repository.test()

    def test_the_tests_of_the_library_pass_with_it(self, swapped: Swapped):
        repository, _ = swapped
        repository.test_library(*self.library, without=self.without)

    def test_the_demo_ends_in_a_champion_that_has_answered(self, swapped: Swapped):
        repository, printed = swapped
        assert "gate: pass" in printed
        assert re.search(r"^  answered \{.*\"ndarray\": \[\[", printed, re.MULTILINE), printed
        assert aliases(repository) == {"challenger": "1", "champion": "1"}
        contract = json.loads((repository.folder / "build/model/contract.json").read_text())
        assert contract["served"]["form"] == self.form, contract["served"]["reason"]

    def test_the_page_has_a_form_that_the_server_answers(self, swapped: Swapped):
        repository, _ = swapped
        page = "tests/app/test_demo.py::test_"
        repository.test_library(
            f"{page}another_contract_gives_another_form",
            f"{page}the_model_says_where_it_comes_from",
        )

    def test_a_file_is_scored_with_every_column_that_it_has(self, swapped: Swapped):
        repository, _ = swapped
        count, columns = repository.ask(ROWS)
        scores = "build/scores.csv"
        done = repository.make("batch", INPUT="build/rows.csv", OUTPUT=scores)
        assert done.returncode == 0, done.stdout + done.stderr
        code = f"""
import json
import pandas as pd
found = pd.read_csv({scores!r})
print(json.dumps([len(found), [*found.columns], int(found["prediction"].notna().sum())]))
"""
        rows, found, answered = repository.ask(code)
        assert rows == answered == count
        assert found[: len(columns)] == columns

    def test_drift_is_told_and_leads_to_a_new_challenger(self, swapped: Swapped):
        repository, _ = swapped
        done = repository.make("loop")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "ticket firing: ModelFeatureDrift" in done.stdout
        assert "ModelFeatureDrift has resolved" in done.stdout
        assert aliases(repository) == {"challenger": "2", "champion": "1"}


class TestTumours(Swap):
    """Thirty numbers whose names have spaces, and no category."""

    name = "tumours"
    problem_type = "classification"
    without = (OF_CATEGORIES,)


class TestFlights(Swap):
    """Three classes; dates, a hundred categories, an identifier, rows without a target."""

    name = "flights"
    problem_type = "classification"
    library = OF_MODEL


class TestWeather(Swap):
    """Numbers with most of a column missing, from Parquet; LightGBM behind a transformer."""

    name = "weather"
    problem_type = "regression"
    package = "lightgbm"
    form = "skops"
    without = (OF_CLASSES,)
