import example_model
import pytest

from {{ cookiecutter.package_name }} import __main__, model_card, model_reference, registry
from {{ cookiecutter.package_name }}.contract import Check, Decision
from {{ cookiecutter.package_name }}.errors import UserError
from {{ cookiecutter.package_name }}.model_reference import ModelReference
from {{ cookiecutter.package_name }}.release import target

CARD = """# Model card

## What it is for

FILL IN: the decision, and who makes it.

## Limits

Few rows.

## Facts

Not written yet.
"""


@pytest.fixture
def card(tmp_path, monkeypatch):
    path = tmp_path / "model-card.md"
    path.write_text(CARD)
    monkeypatch.setattr(model_card, "PATH", path)
    return path


@pytest.fixture
def contract(tmp_path):
    check = Check(name="floor", value=0.5, limit=1, passed=True, detail="0.5 | at most 1")
    return example_model.make(tmp_path).model_copy(
        update={"decision": Decision(passed=True, checks=[check])}
    )


def test_the_facts_are_those_of_the_contract(card, contract):
    assert model_card.fill(contract) == card
    text = card.read_text()
    assert text.startswith(CARD.partition("Not written yet.")[0])
    assert "Not written yet." not in text
    assert "| Version | 3, candidate `made` |" in text
    assert "| `mass` | mass, in kg | 0 to 10 |  | 0.0% |" in text
    assert "| `age` | age | any number |  | 0.0% |" in text
    assert "| `colour` | colour | red, green |  | 0.0% |" in text
    assert "| mae | 0.5 |" in text
    assert "| passed | floor | 0.5 \\| at most 1 |" in text


def test_classes_are_named(card, tmp_path):
    model_card.fill(example_model.make_classifier(tmp_path))
    assert "| Answers | value: the chance of each of low, mid, other |" in card.read_text()


def test_facts_are_written_again_and_what_people_wrote_stays(card, contract):
    card.write_text(CARD + "\n## History\n\nOurs.\n")
    model_card.fill(contract)
    once = card.read_text()
    model_card.fill(contract)
    assert card.read_text() == once
    assert once.endswith("\n## History\n\nOurs.\n")
    assert once.count("## Facts") == 1


def test_a_card_without_the_section_gets_it(card, contract):
    card.write_text("# Ours\n")
    model_card.fill(contract)
    assert card.read_text().startswith("# Ours\n\n## Facts\n\nOf version 3;")


def test_many_categories_are_counted(card, contract):
    colour = contract.features[2].model_copy(update={"categories": [f"c{i}" for i in range(40)]})
    model_card.fill(contract.model_copy(update={"features": [colour]}))
    assert "c11 and 28 more |" in card.read_text()


def test_what_is_not_answered_is_named_and_refused(card):
    assert model_card.unanswered() == ["What it is for: the decision, and who makes it."]
    with pytest.raises(UserError, match="What it is for: the decision, and who makes it"):
        model_card.check()


def test_an_answered_card_is_accepted(card):
    card.write_text(CARD.replace("FILL IN: the decision, and who makes it.", "Nobody decides."))
    assert model_card.unanswered() == []
    model_card.check()


def test_without_a_card_nothing_is_released(card):
    card.unlink()
    with pytest.raises(UserError, match=r"docs/model-card\.md: No such file or directory"):
        model_card.check()


def test_a_canary_is_refused_before_anything_else(card, monkeypatch, capsys):
    monkeypatch.setenv("RELEASE_TO", "production")
    assert __main__.main(["canary", "--model", str(card.parent / "none.json")]) == 1
    assert "nothing goes to production while it says `FILL IN:`" in capsys.readouterr().err


def test_the_command_writes_and_lists_what_is_left(card, contract, monkeypatch, capsys):
    monkeypatch.setenv("MODEL_DIR", str(card.parent))
    assert __main__.main(["model-card"]) == 0
    assert "| Version | 3, candidate `made` |" in card.read_text()
    assert "to answer: What it is for: the decision" in capsys.readouterr().out


def test_packaging_says_that_production_will_ask(card, contract, monkeypatch, capsys):
    monkeypatch.setattr(model_reference, "PATH", card.parent / "build" / "model.json")
    monkeypatch.setattr(registry, "fetch_version", lambda *_: contract)
    monkeypatch.setattr(registry, "tag", lambda *_, **__: None)
    monkeypatch.setattr(target, "package", lambda *_: "image@sha256:1")
    ModelReference.of(contract).write()
    assert __main__.main(["package"]) == 0
    assert "docs/model-card.md has 1 open questions" in capsys.readouterr().out

    card.write_text("# Model card\n\nAll is said.\n")
    assert __main__.main(["package"]) == 0
    assert "docs/model-card.md" not in capsys.readouterr().out
