"""Every render is a sound repository, whatever the answers."""

import ast
import csv
import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from answers import AIRFLOW, EVERY, REGRESSION, Answers
from conftest import BIN, ROOT, Bake, fresh, git

PROJECT = ROOT / "{{cookiecutter.project_slug}}"
SETTINGS = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
# The library reads these from pyproject.toml; the short name and the description stand under
# [project].
ANSWERS = {
    "package": "package_name",
    "name": "project_name",
    "owner_team": "owner_team",
    "contact": "contact",
    "problem_type": "problem_type",
    "release_target": "release_target",
    "container_registry": "container_registry",
    "kubernetes_namespace": "kubernetes_namespace",
    "repository_url": "repository_url",
    "grafana_url": "grafana_url",
    "prometheus_url": "prometheus_url",
    "gocd_url": "gocd_url",
}
MOST_FILES = 70  # of a repository with the default answers
MOST_MORE = 12  # for any option
MOST_LINES = 3000  # of Python, tests and app included

every_answer = pytest.mark.parametrize("answers", EVERY.values(), ids=EVERY)


def files(project: Path) -> list[Path]:
    """List the files of a render, but for its history."""
    return [
        path for path in sorted(project.rglob("*")) if path.is_file() and ".git" not in path.parts
    ]


def texts(project: Path) -> list[Path]:
    """List the files of a render that hold text."""
    return [path for path in files(project) if path.suffix != ".whl"]


def recorded(project: Path) -> Answers:
    """Read the answers of a render."""
    record = json.loads((project / ".cruft.json").read_text(encoding="utf-8"))
    return record["context"]["cookiecutter"]


def read(path: Path) -> str:
    """Read a text as it is, line ends included."""
    return path.read_bytes().decode("utf-8")


def parse_csv(text: str) -> None:
    """Demand that every row is as wide as the head."""
    head, *rows = csv.reader(text.splitlines(), strict=True)
    assert rows
    assert {len(row) for row in rows} == {len(head)}


def parse_shell(text: str) -> None:
    """Have bash read a script without running it."""
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)


def parser(path: Path) -> Callable[[str], object] | None:
    """Find what reads a file of this kind."""
    text = read(path)
    if text.startswith("#!") and "sh" in text.splitlines()[0]:
        return parse_shell
    return {
        ".py": lambda text: compile(text, path, "exec"),
        ".toml": tomllib.loads,
        ".yaml": lambda text: list(yaml.load_all(text, Loader=yaml.CSafeLoader)),
        ".yml": lambda text: list(yaml.load_all(text, Loader=yaml.CSafeLoader)),
        ".json": json.loads,
        ".ipynb": json.loads,
        ".csv": parse_csv,
        ".sh": parse_shell,
    }.get(path.suffix)


@every_answer
def test_every_file_is_read_by_what_reads_its_kind(bake: Bake, answers: Answers):
    project = bake(**answers)
    faults = []

    for path in texts(project):
        parse = parser(path)
        try:
            if parse:
                parse(read(path))
        except Exception as error:
            faults.append(f"{path.relative_to(project)}: {error}")

    assert faults == []


@every_answer
def test_the_makefile_lists_its_verbs(bake: Bake, answers: Answers):
    make = ["make", "help"]

    done = subprocess.run(make, cwd=bake(**answers), capture_output=True, text=True, check=True)

    assert "setup" in done.stdout
    assert done.stderr == ""


@every_answer
def test_nothing_of_the_template_is_left(bake: Bake, answers: Answers):
    project = bake(**answers)
    left = re.compile(r"\{\{[^}]*cookiecutter|\{%|\{#")

    given = [text for text in recorded(project).values() if isinstance(text, str)]
    forms = {*given, *(json.dumps(text, ensure_ascii=False)[1:-1] for text in given)}
    answered = sorted(filter(left.search, forms), key=len, reverse=True)

    def without_answers(text: str) -> str:
        for form in answered:
            text = text.replace(form, "")
        return text

    found = {
        f"{path.relative_to(project)}: {match[0]}"
        for path in texts(project)
        for match in left.finditer(without_answers(read(path)))
    }
    marked = [path.name for path in project.rglob("*") if re.match("[^_].*__", path.name)]

    assert found == set()
    assert marked == []


@every_answer
def test_the_answers_come_through_unchanged(bake: Bake, answers: Answers):
    project = bake(**answers)
    given = recorded(project)

    content = tomllib.loads(read(project / "pyproject.toml"))
    metadata = content["project"]

    assert given == given | answers
    assert content["tool"]["modelloop"] == {
        name: given[question] for name, question in ANSWERS.items()
    }
    assert metadata["name"] == given["project_slug"]
    assert metadata["description"] == given["description"]


@every_answer
@pytest.mark.parametrize("arguments", [["check"], ["format", "--check"]], ids=["check", "format"])
def test_ruff_finds_nothing(bake: Bake, answers: Answers, arguments: list[str]):
    ruff = [BIN / "ruff", *arguments, "--no-cache", "."]

    done = subprocess.run(ruff, cwd=bake(**answers), capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


@every_answer
def test_no_file_names_this_machine_or_an_index(bake: Bake, template: Path, answers: Answers):
    project = bake(**answers)
    names = [str(template), str(ROOT), str(project.parent), str(Path.home())]
    indexes = ["pypi.org", "pythonhosted.org", "--index-url", "--extra-index-url"]

    found = {
        f"{path.relative_to(project)}: {name}"
        for path in texts(project)
        if path.name != ".cruft.json"
        for name in [*names, *indexes]
        if name in read(path)
    }

    assert found == set()


@every_answer
def test_every_file_is_in_the_first_commit(bake: Bake, answers: Answers):
    project = bake(**answers)

    committed = git(project, "ls-files", "-z").split("\0")

    assert sorted(path.relative_to(project).as_posix() for path in files(project)) == sorted(
        filter(None, committed)
    )


@every_answer
def test_a_repository_stays_small(bake: Bake, answers: Answers):
    project = bake(**answers)
    tracked = git(project, "ls-files").splitlines()
    python = sum(len(read(project / path).splitlines()) for path in tracked if path[-3:] == ".py")

    more = MOST_MORE if answers.get("airflow_dag") or answers.get("release_target") else 0
    assert len(tracked) <= MOST_FILES + more
    assert python <= MOST_LINES


def test_jinja_in_python_is_the_name_of_the_package_alone():
    """So every module can be read, linted and moved as it is."""
    found = {
        f"{path.name}: {line.strip()}"
        for path in (PROJECT / "src").rglob("*.py")
        for line in read(path).splitlines()
        if re.search(r"\{\{|\{%", line)
        and not re.fullmatch(r"\s*(from|import) \{\{ cookiecutter\.package_name \}\}.*", line)
    }
    assert found == set()


@every_answer
def test_the_chosen_licence_is_there(bake: Bake, answers: Answers):
    project = bake(**answers)
    given = recorded(project)

    text = read(project / "LICENSE")

    first, owner = {
        "Apache-2.0": ("Apache License", ""),
        "MIT": ("MIT License", given["owner_team"]),
        "proprietary": ("All rights reserved", given["owner_team"]),
    }[given["license"]]
    assert first in text
    assert owner in text


def test_locks_and_data_are_copied_to_the_letter(bake: Bake):
    project = bake(**AIRFLOW)
    copied = [*PROJECT.glob("requirements/*.txt"), *PROJECT.rglob("*.csv"), *PROJECT.rglob("*.whl")]

    assert copied
    for path in copied:
        name = path.name.replace("__airflow", "")
        copy = project / path.relative_to(PROJECT).with_name(name)
        assert copy.read_bytes() == path.read_bytes()


def test_the_problem_type_decides_which_variant_is_kept(template: Path, bake: Bake):
    source = template / PROJECT.name / "src" / "{{cookiecutter.package_name}}"

    for problem_type in SETTINGS["problem_type"]:
        project = bake(problem_type=problem_type)
        kept = read(project / "src" / "penguins" / "model.py")
        assert kept == read(source / f"model__{problem_type}.py")


@pytest.mark.parametrize("answers", [{}, REGRESSION], ids=["classification", "regression"])
def test_the_release_target_is_nobodys_business_but_the_releases(bake: Bake, answers: Answers):
    seldon, azureml = (
        {path.relative_to(project): path.read_bytes() for path in files(project)}
        for project in (bake(**answers), bake(**answers, release_target="azureml"))
    )

    different = {
        path for path in seldon.keys() | azureml.keys() if seldon.get(path) != azureml.get(path)
    }

    assert {path.as_posix() for path in different if "deploy" not in path.parts} == {
        ".cruft.json",
        "pyproject.toml",
    }
    assert len(different) > 5


def test_a_folder_can_be_a_variant_too(template: Path, tmp_path: Path):
    changed = shutil.copytree(template, tmp_path / "template")
    variants = changed / PROJECT.name / "examples"
    for name in ("how__regression", "how__classification"):
        (variants / name).mkdir(parents=True)
        (variants / name / "why__mit.tar.gz").write_text("mit")
        (variants / name / "which.txt").write_text(name)

    fresh(changed, tmp_path, {"license": "MIT"})
    project = fresh(changed, tmp_path, {"license": "MIT"}, overwrite_if_exists=True)

    assert [path.name for path in (project / "examples").iterdir()] == ["how"]
    assert read(project / "examples" / "how" / "which.txt") == "how__classification"
    assert read(project / "examples" / "how" / "why.tar.gz") == "mit"


def test_caches_in_the_template_are_not_rendered(template: Path, tmp_path: Path):
    changed = shutil.copytree(template, tmp_path / "template")
    package = changed / PROJECT.name / "src" / "{{cookiecutter.package_name}}"
    for cache in (package / "__pycache__", changed / PROJECT.name / ".ruff_cache"):
        cache.mkdir()
        # Text to cookiecutter, but not UTF-8: it cannot be rendered.
        (cache / "left-over").write_bytes(b"cached " * 100 + b"\x8b")

    project = fresh(changed, tmp_path, {})

    assert [*project.rglob("left-over")] == []
    assert not (project / ".ruff_cache").exists()
    assert not (project / "src" / "penguins" / "__pycache__").exists()


def test_the_hook_knows_every_choice():
    hook = ast.parse(read(ROOT / "hooks" / "post_gen_project.py"))
    (options,) = [
        ast.literal_eval(line.value)
        for line in hook.body
        if isinstance(line, ast.Assign) and line.targets[0].id == "OPTIONS"
    ]
    asked = {name: value for name, value in SETTINGS.items() if not name.startswith("_")}

    assert {name: list(values) for name, values in options.items() if name in asked} == {
        # The files of a yes have one name, and those of a no have none.
        name: value if isinstance(value, list) else list(options[name])
        for name, value in asked.items()
        if isinstance(value, list | bool)
    }
    assert options.keys() <= asked.keys()
