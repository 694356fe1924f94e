"""A repository is found from any of its folders, and its answers are checked once."""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import modelloop
from modelloop import Project, UserError
from small_repository import git

SOURCES = str(Path(modelloop.__file__).parents[1])
ANSWERS = """\
[project]
name = "blue-whales"
description = "Estimates the length of a whale."

[tool.modelloop]
package = "blue_whales"
name = "Blue whales"
owner_team = "Oceans"
contact = "oceans@example.com"
problem_type = "regression"
release_target = "seldon"
container_registry = "registry.example.com/models"
kubernetes_namespace = "whales"
repository_url = "https://git.example.com/whales"
grafana_url = "https://grafana.example.com"
prometheus_url = "https://prometheus.example.com"
gocd_url = "https://gocd.example.com"
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with answers, and nothing else."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    folder = tmp_path / "whales"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(ANSWERS)
    return folder


@pytest.fixture
def commit(root: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The commit of the folder."""
    monkeypatch.delenv("GIT_COMMIT", raising=False)
    git(root, "init", "--quiet")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message=first")
    return git(root, "rev-parse", "HEAD").strip()


def test_a_repository_is_found_from_its_folders(root, monkeypatch):
    deep = root / "deploy" / "overlays"
    deep.mkdir(parents=True)

    project = Project.find(deep)

    assert project.root == root
    assert (project.slug, project.description) == (
        "blue-whales",
        "Estimates the length of a whale.",
    )
    assert (project.package, project.name) == ("blue_whales", "Blue whales")
    monkeypatch.chdir(deep)
    assert Project.find() is project
    assert Project.of(str(root / "src" / "blue_whales" / "__init__.py")) is project


def test_other_projects_on_the_way_up_are_passed(root):
    inner = root / "tools" / "converter"
    inner.mkdir(parents=True)
    (inner / "pyproject.toml").write_text('[project]\nname = "converter"\n[tool.ruff]\n')
    assert Project.find(inner).root == root


def test_outside_of_a_repository_the_message_says_so(tmp_path):
    message = (
        f"{tmp_path} is no model repository: no pyproject.toml with [tool.modelloop] there or above"
    )
    with pytest.raises(UserError) as error:
        Project.find(tmp_path)
    assert str(error.value) == message


def test_a_folder_has_one_object(root, monkeypatch):
    project = Project.at(root)
    (root.parent / "link").symlink_to(root)
    monkeypatch.chdir(root)

    assert Project.at(root) is project
    assert Project.at(Path(".")) is project
    assert Project.at(root.parent / "link") is project
    assert Project.at(root / "src" / "..") is project
    assert project.root == root


def replaced(old: str, new: str) -> Callable[[str], str]:
    def replace(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    return replace


@pytest.mark.parametrize(
    ("edit", "messages"),
    [
        (
            replaced('problem_type = "regression"', 'problem_type = "ranking"'),
            ["[tool.modelloop] problem_type: Input should be 'classification' or 'regression'"],
        ),
        (
            replaced('package = "blue_whales"', 'package = "Blue whales"'),
            ["[tool.modelloop] package: String should match pattern '^[a-z][a-z0-9_]*$'"],
        ),
        (
            replaced('name = "Blue whales"', "name = 3"),
            ["[tool.modelloop] name: Input should be a valid string"],
        ),
        (
            replaced('name = "blue-whales"', 'name = "Blue Whales"'),
            ["[project] name: String should match pattern '^[a-z][a-z0-9-]*$'"],
        ),
        (replaced('contact = "oceans@example.com"\n', ""), ["[tool.modelloop] contact: Field req"]),
        (replaced('name = "blue-whales"\n', ""), ["[project] name: Field required"]),
        (
            replaced('contact = "oceans@example.com"', 'kontakt = "?"\nteam = "?"'),
            [
                "[tool.modelloop] contact: Field required",
                "[tool.modelloop] kontakt: no such key; there are package, name, owner_team, ",
                "[tool.modelloop] team: no such key",
            ],
        ),
        (replaced("[tool.modelloop]", '[tool.modelloop]\nroot = "/"'), ["root: no such key"]),
        (replaced("[tool.modelloop]", '[tool.modelloop]\nslug = "x"'), ["slug: no such key"]),
        (replaced("[project]", "[[project]]"), ["[project] is no table"]),
        (replaced("[tool.modelloop]", "[[tool.modelloop]]"), ["[tool.modelloop] is no table"]),
        (lambda _: "tool = 3", ["[tool] is no table"]),
        (replaced('name = "Blue whales"', "name = Blue whales"), ["Invalid value (at line 7,"]),
        (lambda _: "[tool.modelloop]\nname = '\udcff'", ["codec can't decode byte 0xff"]),
    ],
)
def test_a_wrong_answer_is_named_with_its_file_and_what_is_allowed(root, edit, messages):
    path = root / "pyproject.toml"
    path.write_bytes(edit(ANSWERS).encode(errors="surrogateescape"))

    with pytest.raises(UserError) as error:
        Project.find(root)

    assert str(error.value).startswith(f"{path}: ")
    for message in messages:
        assert message in str(error.value)
    path.write_text(ANSWERS)
    assert Project.find(root).slug == "blue-whales"  # an error is not kept


def test_a_folder_without_answers_is_named(tmp_path):
    with pytest.raises(UserError, match=r"pyproject\.toml: No such file or directory$"):
        Project.at(tmp_path)


def test_to_read_the_answers_imports_nothing_of_training(root):
    (root / "data").mkdir()
    (root / "data" / "whales.csv").touch()
    code = (
        "import sys; from modelloop import Project; project = Project.find()\n"
        "assert project.settings.data_uri.endswith('whales.csv')\n"
        "print(project.name, project.image, project.shown_tracking_uri, project.is_committed)\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        env=os.environ | {"PYTHONPATH": SOURCES},
        capture_output=True,
        text=True,
        check=True,
    )
    answers, modules = done.stdout.splitlines()
    assert answers.startswith("Blue whales registry.example.com/models/blue-whales-python:")
    heavy = {"pandas", "sklearn", "mlflow", "kfp", "numpy", "onnxruntime", "blue_whales"}
    assert not heavy & {*modules.split()}
    assert "pydantic" in modules.split()


def write_package(root: Path, name: str, module: str) -> None:
    package = root / "src" / name
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "model.py").write_text(module)


def test_modules_are_imported_from_the_repository_at_first_use(root):
    write_package(root, "blue_whales", "TARGET = 'length'")
    project = Project.at(root)
    assert "blue_whales" not in sys.modules

    assert project.model.TARGET == "length"

    assert project.model is sys.modules["blue_whales.model"]
    assert Path(project.model.__file__) == project.source("model")


def test_of_two_packages_of_one_name_the_right_one_is_imported_or_none(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    projects = []
    for folder in ("first", "second"):
        write_package(tmp_path / folder, "twins", f"TARGET = {folder!r}")
        answers = ANSWERS.replace("blue_whales", "twins")
        (tmp_path / folder / "pyproject.toml").write_text(answers)
        projects.append(Project.at(tmp_path / folder))

    assert projects[0].model.TARGET == "first"

    with pytest.raises(UserError, match=r"second: another package 'twins' is imported already, "):
        _ = projects[1].model


def test_without_git_the_commit_is_unknown(root, monkeypatch):
    monkeypatch.delenv("GIT_COMMIT", raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(root.parent))
    project = Project.at(root)
    assert (project.commit, project.tag, project.is_committed) == ("unknown", "unknown", False)
    git(root, "init", "--quiet")
    assert project.commit == "unknown"  # there is no commit yet
    monkeypatch.setenv("PATH", str(root))
    assert project.commit == "unknown"  # there is no git


def test_the_commit_is_that_of_git(root, commit):
    project = Project.at(root)
    git(root, "tag", "v1")  # has no effect
    assert project.commit == commit
    assert project.tag == commit[:12]
    assert project.is_committed


def test_a_dirty_work_tree_is_marked(root, commit):
    (root / "pyproject.toml").write_text(f"{ANSWERS}\n")
    project = Project.at(root)
    assert project.commit == f"{commit}-dirty"
    assert project.tag == f"{commit[:12]}-dirty"
    assert not project.is_committed


def test_images_have_their_commit_from_the_environment(root, commit, monkeypatch):
    monkeypatch.setenv("GIT_COMMIT", "f" * 40)
    assert Project.at(root).commit == "f" * 40
    assert Project.at(root).is_committed


def test_images_are_tagged_by_commit(root, commit, monkeypatch):
    project = Project.at(root)
    monkeypatch.delenv("PIPELINE_IMAGE", raising=False)
    names = "registry.example.com/models/blue-whales"
    assert project.image == f"{names}-python:{commit[:12]}"
    assert project.image_of("app") == f"{names}-app:{commit[:12]}"
    (root / "pyproject.toml").write_text(f"{ANSWERS}\n")
    assert project.image_of("app") == f"{names}-app:{commit[:12]}-dirty"
    monkeypatch.setenv("PIPELINE_IMAGE", "registry.example.com/other:1")
    assert project.image == "registry.example.com/other:1"
    assert project.image_of("app").startswith(names)


def test_the_only_table_is_the_default_data(root, monkeypatch):
    monkeypatch.delenv("DATA_URI", raising=False)
    project = Project.at(root)
    assert (project.tables, project.settings.data_uri) == ([], "")
    data = root / "data"
    data.mkdir()
    (data / "README.md").touch()
    (data / "whales.csv.gz").touch()
    assert project.settings.data_uri == str(data / "whales.csv.gz")
    (data / "more.parquet").touch()
    assert [path.name for path in project.tables] == ["more.parquet", "whales.csv.gz"]
    assert project.settings.data_uri == ""  # which of the two is not guessed
    monkeypatch.setenv("DATA_URI", "s3://bucket/rows.csv")
    assert project.settings.data_uri == "s3://bucket/rows.csv"


def test_the_store_is_shown_without_credentials(root, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert Project.at(root).shown_tracking_uri == str(root / "mlruns")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@mlflow.example.com")
    assert "secret" not in Project.at(root).shown_tracking_uri


def test_it_goes_to_another_process_with_modules_imported(project: Project):
    assert project.model.TARGET

    assert pickle.loads(pickle.dumps(project)) is project
