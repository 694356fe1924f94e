import shutil

import pytest
from click.testing import CliRunner

from modelloop import Project
from modelloop.cli import main
from modelloop.contract.contract import Check, Contract, Decision
from modelloop.errors import UserError
from modelloop.registry.model_reference import ModelReference, path_of
from modelloop.testing import example_model

PASSED = Check(name="floor", value=0.9, limit=0.8, passed=True, detail="0.9 >= 0.8")
FAILED = Check(name="champion", value=0.7, limit=0.9, passed=False, detail="0.7 < 0.9")


@pytest.fixture
def contract(tmp_path) -> Contract:
    decision = Decision(passed=True, checks=[PASSED])
    return example_model.make(tmp_path).model_copy(update={"decision": decision})


@pytest.fixture
def repository(project, tmp_path) -> Project:
    """A repository without code."""
    root = tmp_path / "repository"
    root.mkdir()
    shutil.copy(project.root / "pyproject.toml", root)
    return Project.at(root)


@pytest.fixture
def gate(repository):
    """Run `modelloop gate` in the repository."""
    return lambda: CliRunner().invoke(main, ["--project", str(repository.root), "gate"])


def test_what_is_written_is_read(repository, contract):
    reference = ModelReference.of(contract)
    assert reference.write(repository) == repository.root / "build" / "model.json"
    assert ModelReference.read(repository) == reference
    assert (reference.name, reference.version) == (contract.name, contract.version)


def test_another_contract_has_another_digest(contract):
    other = contract.model_copy(update={"description": "another"})
    assert ModelReference.of(contract).contract_sha256 != ModelReference.of(other).contract_sha256


def test_the_gate_passes_what_was_registered(repository, gate, contract):
    ModelReference.of(contract).write(repository)
    result = gate()
    assert result.exit_code == 0
    assert f"version {contract.version} is @challenger" in result.stdout


def test_the_gate_ends_with_an_error_and_the_reasons(repository, gate, contract):
    decision = Decision(passed=False, checks=[PASSED, FAILED])
    rejected = contract.model_copy(update={"version": "", "decision": decision})
    ModelReference.of(rejected).write(repository)
    result = gate()
    assert result.exit_code == 1
    assert "FAIL  champion" in result.stdout
    assert result.stderr == "error: rejected: champion: 0.7 < 0.9\n"


def test_without_a_model_the_gate_says_what_writes_it(gate):
    result = gate()
    assert result.exit_code == 1
    assert "`make candidate` writes it" in result.stderr


@pytest.mark.parametrize(("text", "message"), [("{", "Invalid JSON: "), ('{"name": 1}', "name: ")])
def test_a_broken_file_is_named(repository, text, message):
    path = path_of(repository)
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(UserError, match=f"model.json: {message}"):
        ModelReference.read(repository)
