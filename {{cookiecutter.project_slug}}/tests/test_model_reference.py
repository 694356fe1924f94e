import example_model
import pytest

from {{ cookiecutter.package_name }} import __main__, model_reference
from {{ cookiecutter.package_name }}.contract import Check, Contract, Decision
from {{ cookiecutter.package_name }}.errors import UserError
from {{ cookiecutter.package_name }}.model_reference import ModelReference

PASSED = Check(name="floor", value=0.9, limit=0.8, passed=True, detail="0.9 >= 0.8")
FAILED = Check(name="champion", value=0.7, limit=0.9, passed=False, detail="0.7 < 0.9")


@pytest.fixture
def contract(tmp_path) -> Contract:
    decision = Decision(passed=True, checks=[PASSED])
    return example_model.make(tmp_path).model_copy(update={"decision": decision})


@pytest.fixture
def path(tmp_path, monkeypatch):
    path = tmp_path / "build" / "model.json"
    monkeypatch.setattr(model_reference, "PATH", path)
    return path


def test_what_is_written_is_read(contract, path):
    reference = ModelReference.of(contract)
    assert reference.write() == path
    assert ModelReference.read() == reference
    assert (reference.name, reference.version) == (contract.name, contract.version)


def test_another_contract_has_another_digest(contract):
    other = contract.model_copy(update={"description": "another"})
    assert ModelReference.of(contract).contract_sha256 != ModelReference.of(other).contract_sha256


def test_the_gate_passes_what_was_registered(contract, path, capsys):
    ModelReference.of(contract).write()
    assert __main__.main(["gate"]) == 0
    assert f"version {contract.version} is @challenger" in capsys.readouterr().out


def test_the_gate_ends_with_an_error_and_the_reasons(contract, path, capsys):
    decision = Decision(passed=False, checks=[PASSED, FAILED])
    rejected = contract.model_copy(update={"version": "", "decision": decision})
    ModelReference.of(rejected).write()
    assert __main__.main(["gate"]) == 1
    printed = capsys.readouterr()
    assert "FAIL  champion" in printed.out
    assert printed.err == "error: rejected: champion: 0.7 < 0.9\n"


def test_without_a_model_the_gate_says_what_writes_it(path, capsys):
    assert __main__.main(["gate"]) == 1
    assert "`make candidate` writes it" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "message"), [("{", "file: "), ('{"name": 1}', "name: ")])
def test_a_broken_file_is_named(path, text, message):
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(UserError, match=f"model.json: {message}"):
        model_reference.ModelReference.read()
