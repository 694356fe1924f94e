"""Prove a model folder while its image is built: `python -m <package>.release.prove FOLDER SHA256`.

It runs in the environment that will serve, so a model that cannot be served there is not packaged.
"""

import sys
from pathlib import Path

from ..contract import Contract, ContractError
from ..serving.predictor import Predictor


def prove(folder: Path, sha256: str) -> Contract:
    """Load the model in a folder and let it answer its golden rows.

    Args:
        folder: what `make model` leaves.
        sha256: the contract's digest, as model.json has it; empty: any.

    Returns:
        The contract.

    Raises:
        ContractError: it is another contract, or the model does not answer as the contract says.
    """
    contract = Contract.read(folder)
    if sha256 and contract.sha256 != sha256:
        raise ContractError(
            f"{folder}: the contract's digest is {contract.sha256}, {sha256} is allowed: this is "
            "not the model that the gate judged"
        )
    return Predictor.load(folder, max_rows=len(contract.golden)).contract


if __name__ == "__main__":
    try:
        proven = prove(Path(sys.argv[1]), sys.argv[2])
    except ContractError as error:
        sys.exit(f"error: {error}")
    print(f"{proven.name} version {proven.version or 'none'} answers its golden rows")
