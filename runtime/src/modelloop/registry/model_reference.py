"""model.json: the model that one stage of a release passes to the next. It stays in MLflow."""

from pathlib import Path

from pydantic import ValidationError

from modelloop.contract.contract import Contract, Decision, Part
from modelloop.errors import UserError, explain
from modelloop.project import Project


class ModelReference(Part):
    """A model that was trained, with the gate's decision.

    Attributes:
        name: of the registered model.
        version: of the registered model; empty where the gate rejected it.
        mlflow_run: the id of the pipeline's run.
        mlflow_model: the id of the logged model.
        git_commit: of the code that trained it.
        contract_sha256: the digest of its contract, hexadecimal.
        decision: the gate's.
        package: what is deployed, after `make package`: an image by digest, or a model in Azure
            ML.
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

    def write(self, project: Project) -> Path:
        """Write it; returns the path."""
        path = path_of(project)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
        return path

    @classmethod
    def read(cls, project: Project, path: Path | None = None) -> "ModelReference":
        """Read it, by default from `path_of`.

        Raises:
            UserError: the file is missing or invalid.
        """
        path = path or path_of(project)
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}; `make candidate` writes it") from error
        except ValidationError as error:
            raise UserError(f"{path}: {explain(error)}") from error


def path_of(project: Project) -> Path:
    """The path of a repository's model.json."""
    return project.build / "model.json"
