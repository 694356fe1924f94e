"""model.json: which model one stage of a release hands to the next. The model stays in MLflow."""

from pathlib import Path

from pydantic import ValidationError

from .contract import Contract, Decision, Part
from .errors import UserError
from .settings import ROOT

PATH = ROOT / "build" / "model.json"


class ModelReference(Part):
    """A model that was trained and judged.

    Attributes:
        version: of the registered model; empty where the gate rejected it.
        package: what is deployed, once there is one: an image by digest, or a model in Azure ML.
    """

    name: str
    version: str
    mlflow_run: str
    mlflow_model: str
    git_commit: str
    contract_sha256: str
    decision: Decision
    package: str = ""

    @classmethod
    def of(cls, contract: Contract) -> "ModelReference":
        """The reference to the model that a contract describes."""
        provenance = contract.provenance
        return cls(
            name=contract.name,
            version=contract.version,
            mlflow_run=provenance.mlflow_run,
            mlflow_model=provenance.mlflow_model,
            git_commit=provenance.git_commit,
            contract_sha256=contract.sha256,
            decision=contract.decision,
        )

    def write(self) -> Path:
        """Write it; returns the path."""
        PATH.parent.mkdir(parents=True, exist_ok=True)
        PATH.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
        return PATH

    @classmethod
    def read(cls, path: Path | None = None) -> "ModelReference":
        """Read it, from PATH unless another file is named.

        Raises:
            UserError: there is none, or it is none.
        """
        path = path or PATH
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}; `make candidate` writes it") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "file"
            raise UserError(f"{path}: {where}: {first['msg']}") from error
