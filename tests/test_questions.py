"""Every question can be understood, and no answer on a command line is lost."""

import json
from pathlib import Path

import pytest
from conftest import ROOT, Run

QUESTIONS = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
PROMPTS = QUESTIONS["__prompts__"]
ASKED = [name for name in QUESTIONS if not name.startswith("_")]
CHOICES = [name for name in ASKED if isinstance(QUESTIONS[name], list)]
YES_OR_NO = [name for name in ASKED if isinstance(QUESTIONS[name], bool)]


def test_every_question_has_a_prompt_for_people():
    assert list(PROMPTS) == ASKED
    for name in ASKED:
        prompt = PROMPTS[name]["__prompt__"] if name in CHOICES else PROMPTS[name]
        assert prompt != name


@pytest.mark.parametrize("name", CHOICES)
def test_every_choice_has_a_label(name: str):
    assert [label for label in PROMPTS[name] if label != "__prompt__"] == QUESTIONS[name]


def test_prompts_reach_the_terminal_as_written(run: Run, template: Path, tmp_path: Path):
    done = run("cookiecutter", template, typed="\n" * len(ASKED), COLUMNS="200")

    assert done.returncode == 0, done.stderr
    for name in ASKED:
        prompt = PROMPTS[name] if isinstance(PROMPTS[name], dict) else {"": PROMPTS[name]}
        assert all(text in done.stdout for text in prompt.values())
    assert (tmp_path / "penguins").is_dir()


@pytest.mark.parametrize(
    ("given", "meant"),
    [("projct_name=Foo", "project_name"), ("licence=MIT", "license"), ("Contact=x", "contact")],
)
def test_an_unknown_answer_is_refused(
    run: Run, template: Path, tmp_path: Path, given: str, meant: str
):
    done = run("cookiecutter", template, "--no-input", "--output-dir", tmp_path / "out", given)

    assert done.returncode == 1
    assert f"{given.partition('=')[0]}: no such question (did you mean {meant}?)" in done.stderr
    assert all(name in done.stderr for name in ASKED)
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_an_unknown_answer_is_refused_before_any_question_is_asked(run: Run, template: Path):
    done = run("cookiecutter", template, "projct_name=Foo")

    assert done.returncode == 1
    assert PROMPTS["project_name"] not in done.stdout


@pytest.mark.parametrize("how", ["inline", "file"])
def test_an_unknown_answer_is_refused_by_cruft(run: Run, template: Path, tmp_path: Path, how: str):
    answers = json.dumps({"projct_name": "Foo"})
    (tmp_path / "answers.json").write_text(answers)
    options = {
        "inline": ["--extra-context", answers],
        "file": ["--extra-context-file", tmp_path / "answers.json"],
    }

    done = run("cruft", "create", "--no-input", "--output-dir", "out", *options[how], template)

    assert done.returncode == 1
    assert "projct_name: no such question (did you mean project_name?)" in done.stderr
    assert not (tmp_path / "out").exists()


def test_an_option_that_looks_like_an_answer_is_none(run: Run, template: Path, tmp_path: Path):
    done = run("cookiecutter", template, "--no-input", "--output-dir", "folder=x")

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "folder=x" / "penguins").is_dir()


def test_settings_for_other_templates_are_no_fault(run: Run, template: Path, tmp_path: Path):
    settings = tmp_path / "settings.yaml"
    settings.write_text("default_context: {github_username: foo, owner_team: Team of the company}")

    done = run("cookiecutter", template, "--no-input", "--config-file", settings)

    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "penguins" / ".cruft.json").read_text(encoding="utf-8"))
    assert record["context"]["cookiecutter"]["owner_team"] == "Team of the company"
    assert "github_username" not in record["context"]["cookiecutter"]


@pytest.mark.parametrize("mark", ["{{ 7 * 7 }}", "{% if x %}", "{# x", "{{ cookiecutter._x }}"])
def test_an_answer_with_braces_is_taken_as_it_is(
    run: Run, template: Path, tmp_path: Path, mark: str
):
    done = run("cookiecutter", template, "--no-input", f"description=It is {mark}")

    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "penguins" / ".cruft.json").read_text(encoding="utf-8"))
    assert record["context"]["cookiecutter"]["description"] == f"It is {mark}"


@pytest.mark.parametrize("choice", CHOICES)
def test_a_value_that_is_no_choice_is_refused(
    run: Run, template: Path, tmp_path: Path, choice: str
):
    done = run("cookiecutter", template, "--no-input", f"{choice}=foo")

    # cookiecutter itself refuses it, with a traceback, before it loads anything of the template.
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert all(text in last for text in ("foo", choice, *QUESTIONS[choice]))
    assert not (tmp_path / "penguins").exists()


@pytest.mark.parametrize("question", YES_OR_NO)
def test_neither_yes_nor_no_is_refused(run: Run, template: Path, tmp_path: Path, question: str):
    done = run("cookiecutter", template, "--no-input", f"{question}=perhaps")

    # As above.
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert all(text in last for text in ("perhaps", question, "boolean"))
    assert not (tmp_path / "penguins").exists()


@pytest.mark.parametrize(("given", "kept"), [("yes", True), ("n", False), ("true", True)])
def test_yes_and_no_are_kept_as_such(
    run: Run, template: Path, tmp_path: Path, given: str, kept: bool
):
    done = run("cookiecutter", template, "--no-input", f"airflow_dag={given}")

    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "penguins" / ".cruft.json").read_text(encoding="utf-8"))
    assert record["context"]["cookiecutter"]["airflow_dag"] is kept
    assert (tmp_path / "penguins" / "dags").is_dir() is kept
