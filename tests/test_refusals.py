"""An answer that would make a broken repository is refused, and nothing is left behind."""

from pathlib import Path

import pytest
from answers import EVERY, HOSTILE, LONGEST
from conftest import Bake, Run, fresh
from cookiecutter.exceptions import FailedHookException

# Modules that the repository's environments bring, under names that no list by hand would hold.
INSTALLED = ("attrs", "idna", "identify", "modelloop", "packaging", "six", "urllib3")
REFUSED = {
    "a blank name": ("project_name", "  "),
    "no name": ("project_name", ""),
    "a name too long": ("project_name", "P" * 101),
    "a description too long": ("description", "d" * 301),
    "a blank team": ("owner_team", "\u00a0"),
    "a team too long": ("owner_team", "t" * 64),
    "a blank contact": ("contact", ""),
    "a contact with a space": ("contact", "the team"),
    "a contact with a foreign space": ("contact", "the\u3000team"),
    "a contact too long": ("contact", "c" * 201),
    "a slug in upper case": ("project_slug", "Penguins"),
    "a slug with an underscore": ("project_slug", "pen_guins"),
    "a slug with a dot": ("project_slug", "pen.guins"),
    "a slug that is not ASCII": ("project_slug", "pengüins"),
    "a slug that begins with a digit": ("project_slug", "3d"),
    "a slug that begins with a hyphen": ("project_slug", "-p"),
    "a slug that ends with a hyphen": ("project_slug", "p-"),
    "a slug with two hyphens": ("project_slug", "pen--guins"),
    "a slug with a line end": ("project_slug", "penguins\n"),
    "a slug too long": ("project_slug", "p" * 41),
    "a package in upper case": ("package_name", "Penguins"),
    "a package with a hyphen": ("package_name", "pen-guins"),
    "a package that is not ASCII": ("package_name", "pengüins"),
    "a package that begins with a digit": ("package_name", "3d"),
    "a package that begins with an underscore": ("package_name", "_p"),
    "a package with two underscores": ("package_name", "model__regression"),
    "a package too long": ("package_name", "p" * 41),
    "a keyword as package": ("package_name", "class"),
    "a soft keyword as package": ("package_name", "match"),
    "a module of Python as package": ("package_name", "json"),
    "a dependency as package": ("package_name", "sklearn"),
    "a dependency with an underscore as package": ("package_name", "seldon_core"),
    "a folder of the repository as package": ("package_name", "tests"),
    **{f"{name}, which is installed, as package": ("package_name", name) for name in INSTALLED},
    "a registry with a scheme": ("container_registry", "https://registry.example.com"),
    "a registry in upper case": ("container_registry", "registry.example.com/Models"),
    "a registry with a tag": ("container_registry", "registry.example.com/models:1"),
    "a registry with a slash at the end": ("container_registry", "registry.example.com/"),
    "a registry with a port that is none": ("container_registry", "localhost:65536"),
    "a registry too long": ("container_registry", "r" * 129),
    "a namespace in upper case": ("kubernetes_namespace", "Models"),
    "a namespace with a dot": ("kubernetes_namespace", "a.b"),
    "a namespace that ends with a hyphen": ("kubernetes_namespace", "models-"),
    "a namespace too long": ("kubernetes_namespace", "n" * 64),
    "an MLflow address without scheme": ("mlflow_tracking_uri", "mlflow:5000"),
    "an MLflow address that is a file": ("mlflow_tracking_uri", "file:///mlruns"),
    "an MLflow address without host": ("mlflow_tracking_uri", "http://"),
    "an MLflow address with a password": ("mlflow_tracking_uri", "http://user:pass@mlflow"),
    "an MLflow address with a user": ("mlflow_tracking_uri", "http://user@mlflow"),
    "an MLflow address with a query": ("mlflow_tracking_uri", "http://mlflow?token=x"),
    "an MLflow address with a port that is none": ("mlflow_tracking_uri", "http://mlflow:0"),
    "an MLflow address too long": ("mlflow_tracking_uri", "http://" + "m" * 194),
    "a repository's address with a query": ("repository_url", "https://git.example.com/?a=b"),
    "a Grafana address that ends with a slash": ("grafana_url", "https://grafana.example.com/"),
    "a GoCD address without scheme": ("gocd_url", "gocd:8153"),
}
UNWRITABLE = {
    "line end": "\n",
    "tabulator": "\t",
    "escape": "\x1b",
    "delete": "\x7f",
    "next line": "\x85",
    "line separator": "\u2028",
    "paragraph separator": "\u2029",
    "half an emoji": "\ud83d",
    "no character": "\uffff",
}


def refuse(template: Path, folder: Path, answers: dict[str, str]) -> None:
    """Render, and assert that it is refused and leaves nothing."""
    with pytest.raises(FailedHookException):
        fresh(template, folder, answers)
    assert list((folder / "out").iterdir()) == []


@pytest.mark.parametrize(("question", "given"), REFUSED.values(), ids=REFUSED)
def test_is_refused(
    template: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    question: str,
    given: str,
):
    names = {"project_slug": "fine", "package_name": "fine", "repository_url": "http://fine"}

    refuse(template, tmp_path, names | {question: given})

    (line,) = capfd.readouterr().err.splitlines()
    shown = repr(given) if len(repr(given)) <= 60 else repr(given)[:57] + "..."
    assert line.startswith(f"{question}: {shown} given; allowed: ")


@pytest.mark.parametrize("character", UNWRITABLE.values(), ids=UNWRITABLE)
def test_a_text_no_file_can_hold_is_refused(
    template: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], character: str
):
    text = f"a{character}b"
    texts = ("project_name", "description", "owner_team", "contact")

    refuse(template, tmp_path, dict.fromkeys(texts, text) | {"project_slug": "fine"})

    said = capfd.readouterr().err
    for question in texts:
        assert f"{question}: {text!r} given; allowed: no control characters" in said


def test_every_fault_is_told_at_once_and_without_a_traceback(
    run: Run, template: Path, tmp_path: Path
):
    faulty = ["project_slug=A", "owner_team= ", "kubernetes_namespace=-", "contact=a b"]

    done = run("cookiecutter", template, "--no-input", *faulty)

    assert done.returncode == 1
    told = {line.partition(":")[0] for line in done.stderr.splitlines()}
    assert {"project_slug", "package_name", "owner_team", "kubernetes_namespace", "contact"} <= told
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "A").exists()


@pytest.mark.parametrize("slug", ["team/penguins", "../penguins", "..", ".", "team\\penguins"])
def test_a_slug_that_is_a_path_makes_no_folder(run: Run, template: Path, tmp_path: Path, slug: str):
    done = run(
        "cookiecutter", template, "--no-input", "--output-dir", "out", "-f", f"project_slug={slug}"
    )

    assert done.returncode == 1
    assert f"project_slug: {slug!r} given; allowed: a folder name" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_name_without_letters_needs_a_slug(run: Run, template: Path):
    done = run("cookiecutter", template, "--no-input", "project_name=\U0001f427")

    assert done.returncode == 1
    assert "project_slug: '' given" in done.stderr


def test_a_long_name_makes_a_slug_that_is_allowed(bake: Bake):
    project = bake(project_name=LONGEST["project_name"])

    assert project.name == "penguins-of-the-long-and-winding-name-of"


@pytest.mark.parametrize("answers", EVERY.values(), ids=EVERY)
def test_the_extremes_of_what_is_allowed_are_rendered(bake: Bake, answers: dict[str, str]):
    assert bake(**answers).is_dir()


def test_a_refused_answer_leaves_an_older_folder_alone(run: Run, template: Path, tmp_path: Path):
    older = tmp_path / "penguins" / "mine.txt"
    older.parent.mkdir()
    older.write_text("mine")

    done = run("cookiecutter", template, "--no-input", "-f", "owner_team= ")

    assert done.returncode == 1
    assert older.read_text() == "mine"
    assert list(older.parent.iterdir()) == [older]


def test_text_in_the_answers_is_never_run_by_the_hooks(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    code = "\"\"\"'''); import os; os.mkdir('broken') #\\"

    project = fresh(template, tmp_path, HOSTILE | {"description": code})

    assert project.is_dir()
    assert not [*tmp_path.rglob("broken")]
