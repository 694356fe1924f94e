"""Check the model in a folder while its image is built.

The check runs in the environment that will serve the model: a model that cannot be loaded there, or
predicts something else there, is not packaged.
"""

from pathlib import Path

from modelloop.contract.contract import Contract, ContractError
from modelloop.project import Project
from modelloop.serving.predictor import Predictor


def prove(project: Project, folder: Path, sha256: str) -> Contract:
    """Load the model in a folder and compare its predictions on the golden rows.

    Args:
        project: the repository; the model may need its features.py.
        folder: a model and its contract, as `make model` downloads them.
        sha256: the digest that the contract must have, from model.json; empty allows any.

    Returns:
        The contract.

    Raises:
        ContractError: the contract is another one, or the predictions differ from it.
    """
    contract = Contract.read(folder)
    if sha256 and contract.sha256 != sha256:
        raise ContractError(
            f"{folder}: the contract's digest is {contract.sha256}, {sha256} is allowed: this is "
            "not the model that the gate judged"
        )
    return Predictor.load(project, folder, max_rows=len(contract.golden)).contract
