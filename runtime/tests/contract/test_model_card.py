"""The model card: its facts, its open questions, and the verbs that write and demand it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from modelloop import Contract, Project
from modelloop.cli import main
from modelloop.contract import model_card
from modelloop.contract.contract import Check, Decision
from modelloop.errors import UserError
from modelloop.registry.model_reference import ModelReference
from modelloop.registry.store import connect
from modelloop.testing import example_model

CARD = """# Model card

## What it is for

FILL IN: the decision, and who makes it.

## Limits

Few rows.

## Facts

Not written yet.
"""
# Builds and pushes nothing; leaves a digest where podman would.
PODMAN = """#!/bin/sh
while [ $# -gt 0 ]; do
    if [ "$1" = --digestfile ]; then echo sha256:1 > "$2"; fi
    shift
done
"""


@pytest.fixture
def repository(project: Project, tmp_path: Path) -> Project:
    """A repository that has a model card, and no code."""
    root = tmp_path / "repository"
    (root / "docs").mkdir(parents=True)
    (root / model_card.NAME).write_text(CARD)
    shutil.copy(project.root / "pyproject.toml", root)
    return Project.at(root)


@pytest.fixture
def card(repository: Project) -> Path:
    return repository.root / model_card.NAME


@pytest.fixture
def modelloop(repository: Project) -> Callable[..., Result]:
    """Run a verb of the command `modelloop` on the repository."""
    return lambda *arguments: CliRunner().invoke(
        main, ["--project", str(repository.root), *arguments]
    )


@pytest.fixture
def contract(tmp_path: Path) -> Contract:
    check = Check(name="floor", value=0.5, limit=1, passed=True, detail="0.5 | at most 1")
    return example_model.make(tmp_path).model_copy(
        update={"decision": Decision(passed=True, checks=[check])}
    )


def test_the_facts_are_those_of_the_contract(repository, card, contract):
    assert model_card.fill(repository, contract) == card
    text = card.read_text()
    assert text.startswith(CARD.partition("Not written yet.")[0])
    assert "Not written yet." not in text
    assert "| Version | 3, candidate `made` |" in text
    assert "| `mass` | mass, in kg | 0 to 10 |  | 0.0% |" in text
    assert "| `age` | age | any number |  | 0.0% |" in text
    assert "| `colour` | colour | red, green |  | 0.0% |" in text
    assert "| mae | 0.5 |" in text
    assert "| passed | floor | 0.5 \\| at most 1 |" in text


def test_classes_are_named(repository, card, tmp_path):
    model_card.fill(repository, example_model.make_classifier(tmp_path))
    assert "| Answers | value: the chance of each of low, mid, other |" in card.read_text()


def test_facts_are_written_again_and_what_people_wrote_stays(repository, card, contract):
    card.write_text(CARD + "\n## History\n\nOurs.\n")
    model_card.fill(repository, contract)
    once = card.read_text()
    model_card.fill(repository, contract)
    assert card.read_text() == once
    assert once.endswith("\n## History\n\nOurs.\n")
    assert once.count("## Facts") == 1


def test_a_card_without_the_section_gets_it(repository, card, contract):
    card.write_text("# Ours\n")
    model_card.fill(repository, contract)
    assert card.read_text().startswith("# Ours\n\n## Facts\n\nOf version 3;")


def test_many_categories_are_counted(repository, card, contract):
    colour = contract.features[2].model_copy(update={"categories": [f"c{i}" for i in range(40)]})
    model_card.fill(repository, contract.model_copy(update={"features": [colour]}))
    assert "c11 and 28 more |" in card.read_text()


def test_what_is_not_answered_is_named_and_refused(repository, card):
    assert model_card.unanswered(repository) == ["What it is for: the decision, and who makes it."]
    with pytest.raises(UserError, match="What it is for: the decision, and who makes it"):
        model_card.check(repository)


def test_an_answered_card_is_accepted(repository, card):
    card.write_text(CARD.replace("FILL IN: the decision, and who makes it.", "Nobody decides."))
    assert model_card.unanswered(repository) == []
    model_card.check(repository)


def test_without_a_card_nothing_is_released(repository, card):
    card.unlink()
    with pytest.raises(UserError, match=r"docs/model-card\.md: No such file or directory"):
        model_card.check(repository)


def test_a_canary_is_refused_before_anything_else(modelloop, monkeypatch, tmp_path):
    monkeypatch.setenv("RELEASE_TO", "production")
    done = modelloop("canary", "--model", str(tmp_path / "none.json"))
    assert done.exit_code == 1
    assert "nothing goes to production while it says `FILL IN:`" in done.stderr


def test_the_command_writes_and_lists_what_is_left(
    modelloop, card, contract, monkeypatch, tmp_path
):
    monkeypatch.setenv("MODEL_DIR", str(contract.write(tmp_path).parent))
    done = modelloop("model-card")
    assert done.exit_code == 0, done.output
    assert "| Version | 3, candidate `made` |" in card.read_text()
    assert "to answer: What it is for: the decision" in done.stdout


def test_packaging_says_that_production_will_ask(
    modelloop, store, repository, card, contract, monkeypatch, tmp_path
):
    contract = contract.model_copy(update={"version": "1"})
    client = connect(repository)
    client.create_registered_model(repository.slug)
    source = tmp_path / "model"
    source.mkdir()
    contract.write(source)
    client.create_model_version(repository.slug, source=source.as_uri())
    ModelReference.of(contract).write(repository)
    podman = tmp_path / "podman"
    podman.write_text(PODMAN)
    podman.chmod(0o755)
    monkeypatch.setenv("CONTAINER_TOOL", str(podman))

    done = modelloop("package")
    assert done.exit_code == 0, done.output
    assert "docs/model-card.md has 1 open questions" in done.stdout

    card.write_text("# Model card\n\nAll is said.\n")
    done = modelloop("package")
    assert done.exit_code == 0, done.output
    assert "docs/model-card.md" not in done.stdout
