"""The model contract: what a trained model takes and returns, as one JSON beside the model.

Training writes it. The server validates requests with it and returns it at `/metadata`, checks its
own predictions against the golden rows before it serves, and takes the references of its metrics
from it.
"""

import hashlib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from modelloop.errors import UserError, explain

SCHEMA_VERSION = 1
FILE_NAME = "contract.json"

# How much two runs of a model may differ: float32 has 7 digits, sums over trees lose one or two.
# The absolute tolerance is for outputs of about 1, such as probabilities; see differing_rows.
ABSOLUTE_TOLERANCE = 1e-5
RELATIVE_TOLERANCE = 1e-5

OTHER, MISSING = "other", "missing"  # the last two bins of every reference


class ContractError(UserError):
    """The contract is missing, unreadable, or of a schema version this code does not know."""


class Part(BaseModel):
    """Base of every part: immutable, closed, finite numbers only."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Reference(Part):
    """The distribution of the training rows over bins.

    Numbers have `edges`: ascending; bin i holds edges[i-1] <= value < edges[i], the outer bins are
    open. Categories have `categories`, one bin each: the most frequent ones, where there are many.
    Both are followed by two more bins, `other` (any other value) and `missing`. The shares of all
    bins sum to 1, and none is 0, for drift is measured by their logarithms.
    """

    edges: list[float] | None = None
    categories: list[str] | None = None
    shares: list[Annotated[float, Field(gt=0)]]

    @property
    def bins(self) -> list[str]:
        """The names of the bins, in the order of `shares`; no two are the same."""
        if self.edges is not None:
            inner = [f"b{i}" for i in range(len(self.edges) + 1)]
        else:
            # A category may be called `other`, too.
            inner = [
                f"={c}" if c in (OTHER, MISSING) or c.startswith("=") else c
                for c in self.categories or []
            ]
        return [*inner, OTHER, MISSING]

    @model_validator(mode="after")
    def _shares_fit_the_bins(self) -> "Reference":
        if (self.edges is None) == (self.categories is None):
            raise ValueError("a reference has either edges or categories")
        if len(self.shares) != len(self.bins):
            raise ValueError(f"{len(self.bins)} bins but {len(self.shares)} shares")
        if abs(sum(self.shares) - 1) > 1e-6:
            raise ValueError(f"shares sum to {sum(self.shares)}, not to 1")
        return self


class Column(Part):
    """One column: its valid values (from the data schema), and those of the training rows."""

    name: str
    role: Literal["feature", "target"]
    kind: Literal["number", "category"]
    dtype: str  # in the raw table
    description: str = ""
    unit: str = ""
    nullable: bool  # a value may be missing
    minimum: float | None = None  # smallest and largest allowed number, where the schema has them
    maximum: float | None = None
    categories: list[str] | None = None  # every allowed category; None for kind `category`: any
    observed: tuple[float, float] | None = None  # range in the training rows, for kind `number`
    median: float | None = None
    missing: float = Field(ge=0, le=1)  # share of the training rows
    reference: Reference


class OutlierDetector(Part):
    """Mahalanobis distance on numeric inputs, missing values replaced by the mean.

    A row x is an outlier when (x - mean)' precision (x - mean) > threshold. `share` is that of the
    training rows beyond it, never 0.
    """

    features: list[str]
    mean: list[float]
    precision: list[list[float]]
    threshold: float
    share: float = Field(gt=0, lt=1)


class ServedForm(Part):
    """The file that the server loads, and its largest difference to scikit-learn on test rows."""

    form: Literal["onnx", "skops"]
    file: str
    largest_difference: float = Field(ge=0)
    reason: str  # why this form


class GoldenRow(Part):
    """One input with the served model's output: probabilities by class, or one value."""

    inputs: dict[str, float | str | None]
    outputs: list[float]


class Check(Part):
    """One check of the gate. `limit` is None where there was no limit (a first release)."""

    name: str
    value: float | None
    limit: float | None
    passed: bool
    detail: str


class Decision(Part):
    """The gate's decision, with every number."""

    passed: bool
    checks: list[Check]

    @property
    def reasons(self) -> list[str]:
        """Why the candidate was rejected; empty when it passed."""
        return [f"{c.name}: {c.detail}" for c in self.checks if not c.passed]

    def table(self) -> str:
        """The checks as lines of text."""
        lines = [f"{'ok' if c.passed else 'FAIL':<5} {c.name:<24} {c.detail}" for c in self.checks]
        return "\n".join([*lines, f"gate: {'pass' if self.passed else 'reject'}"])


class Provenance(Part):
    """The origin of the model: code, data, runs."""

    candidate: str
    trained_at: str  # ISO 8601, UTC
    git_commit: str
    data_uri: str  # without credentials
    data_sha256: str
    rows_train: int
    rows_test: int
    python: str
    packages: dict[str, str]
    pipeline_run: str
    mlflow_run: str
    mlflow_model: str


class Contract(Part):
    """The whole contract. `version` is empty until the registry has given one."""

    schema_version: int = SCHEMA_VERSION
    name: str
    version: str = ""
    description: str
    owner: str
    problem_type: Literal["classification", "regression"]
    classes: list[str] = []
    target: Column
    features: list[Column]
    predictions: Reference
    outliers: OutlierDetector | None = None
    served: ServedForm
    golden: list[GoldenRow] = Field(min_length=1)
    metrics: dict[str, float]
    decision: Decision | None = None
    provenance: Provenance

    @model_validator(mode="after")
    def _outputs_have_names(self) -> "Contract":
        if (self.problem_type == "classification") != bool(self.classes):
            raise ValueError("a classification names its classes, a regression has none")
        if any(len(row.outputs) != len(self.output_names) for row in self.golden):
            raise ValueError("a golden row has another number of outputs than the model")
        return self

    @property
    def output_names(self) -> list[str]:
        """The names of the columns of the model's output: the classes, or the target."""
        return self.classes or [self.target.name]

    @property
    def sha256(self) -> str:
        """Digest of the whole contract, hexadecimal."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    def write(self, folder: Path) -> Path:
        """Write `contract.json` into a folder; returns its path."""
        path = Path(folder) / FILE_NAME
        path.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
        return path

    @classmethod
    def read(cls, folder: Path) -> "Contract":
        """Read and validate `contract.json` from a folder.

        Raises:
            ContractError: missing, broken, or written by another schema version.
        """
        path = Path(folder) / FILE_NAME
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            hint = "`make model` downloads one"
            raise ContractError(f"{path}: cannot be read: {error.strerror}; {hint}") from error
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise ContractError(f"{path}: {explain(error)}") from error

    @model_validator(mode="before")
    @classmethod
    def _known_version(cls, data: object) -> object:
        found = data.get("schema_version", SCHEMA_VERSION) if isinstance(data, dict) else None
        if found is not None and found != SCHEMA_VERSION:
            raise ValueError(f"schema version {found!r}, this code reads {SCHEMA_VERSION}")
        return data
