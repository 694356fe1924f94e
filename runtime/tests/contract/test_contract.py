import json

import pytest

from modelloop.contract.contract import Contract, ContractError, Reference


def test_a_contract_survives_writing_and_reading(model_dir, tmp_path):
    contract = Contract.read(model_dir)
    contract.write(tmp_path)
    assert Contract.read(tmp_path) == contract


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 99}, "schema version 99, this code reads 1"),
        ({"golden": []}, "golden"),
        ({"surprise": 1}, "surprise"),
        ({"name": None}, "name"),
    ],
)
def test_a_broken_contract_is_refused_with_the_place(model_dir, tmp_path, change, message):
    whole = json.loads((model_dir / "contract.json").read_text())
    (tmp_path / "contract.json").write_text(json.dumps(whole | change))
    with pytest.raises(ContractError, match=message):
        Contract.read(tmp_path)


def test_a_missing_contract_is_named(tmp_path):
    with pytest.raises(ContractError, match=r"contract\.json: cannot be read"):
        Contract.read(tmp_path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"edges": [1.0], "shares": [0.5, 0.5]}, "4 bins but 2 shares"),
        ({"edges": [1.0], "shares": [0.5, 0.5, 0.25, 0.25]}, "sum to 1.5"),
        ({"edges": [1.0], "shares": [0.5, 0.5, 0.0, 0.0]}, "greater than 0"),
        ({"shares": [0.5, 0.5]}, "either edges or categories"),
    ],
)
def test_a_reference_is_a_distribution(fields, message):
    with pytest.raises(ValueError, match=message):
        Reference(**fields)


def test_bins_end_with_other_and_missing():
    reference = Reference(categories=["x"], shares=[0.5, 0.25, 0.25])
    assert reference.bins == ["x", "other", "missing"]
