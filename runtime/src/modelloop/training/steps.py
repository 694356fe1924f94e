"""The steps of the training pipeline: read files, call the pure functions, write files.

A step reads and writes files, so that it runs in its own process on the laptop and in its own
container on a cluster. Nothing here depends on Kubeflow. The repository's tracking.py decides what
MLflow keeps of a step, from what the step returns.
"""

import json
import math
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from modelloop.contract import served_model
from modelloop.contract.contract import Contract, Decision, Provenance, ServedForm
from modelloop.errors import UserError
from modelloop.project import Project, python_version
from modelloop.registry import runs, versions
from modelloop.table import columns, read
from modelloop.table import prepare as preparing
from modelloop.table import validate as validation
from modelloop.table.prepare import Rows
from modelloop.training import choices, dataset, problem
from modelloop.training import evaluate as evaluation
from modelloop.training import gate as gating
from modelloop.training import train as training
from modelloop.training.describe import describe
from modelloop.training.train import Trained

EVALUATION = "evaluation.json"


@dataclass(frozen=True)
class TrainedCandidate:
    """A trained candidate.

    Attributes:
        name: of the candidate, in CANDIDATES.
        trained: the fitted pipeline, and the file that the server loads.
        example: three rows of the pipeline's inputs.
        parameters: the hyper-parameters of the pipeline's last step.
        test_metrics: every metric on the test rows, by name.
        figures: plots of the answers on the test rows, by name.
        metric: the gate's metric, by which the best candidate is chosen.
    """

    name: str
    trained: Trained
    example: pd.DataFrame
    parameters: dict[str, object]
    test_metrics: dict[str, float]
    figures: dict[str, Figure]
    metric: str

    def summary(self, model_id: str) -> dict[str, object]:
        """What `evaluate` needs to choose among candidates, as JSON values.

        Args:
            model_id: of the model in MLflow.
        """
        return {
            "candidate": self.name,
            "model_id": model_id,
            "cross_validation": self.trained.cross_validation[self.metric],
            "classes": self.trained.classes,
            "served": self.trained.served.model_dump(),
        }


@dataclass(frozen=True)
class Evaluated:
    """The chosen candidate, measured on the test rows.

    Attributes:
        candidate: its name.
        metrics: every metric that is a number, by name.
        latency_ms: median time to predict one row, milliseconds.
    """

    candidate: str
    metrics: dict[str, float]
    latency_ms: float


def ingest(project: Project, raw_path: str) -> int:
    """Load the raw table into a Parquet file; returns the number of rows.

    Raises:
        DataError: model.py and data.py contradict each other.
        TableError: the table cannot be read or stored.
    """
    choices.check(project.model, project.data.SCHEMA, project.problem_type)
    env = project.settings
    raw = project.data.load(env.data_uri, env.data_query)
    try:
        raw.to_parquet(raw_path)
    except (ValueError, TypeError) as error:  # pyarrow's errors: a column mixes text and numbers
        raise read.TableError(f"the raw table cannot be stored: {error}") from error
    return len(raw)


def validate(project: Project, raw_path: str, valid_path: str) -> int:
    """Check the raw table against the schema; returns the number of rows.

    Raises:
        DataError: rows break the schema, or too many are duplicates.
    """
    valid = validation.validate(read.read_parquet(raw_path), project.data.SCHEMA)
    validation.check_duplicates(valid, project.data.DUPLICATES)
    valid.to_parquet(valid_path)
    return len(valid)


def prepare(project: Project, valid_path: str, train_path: str, test_path: str) -> tuple[int, int]:
    """Prepare and split the rows; returns the numbers of training and of test rows.

    Raises:
        DataError: the rows are too few, or of one class.
    """
    model = project.model
    features, target = dataset.rules(project)
    by = (model.WEIGHT, model.SPLIT)
    needed = preparing.needed(features, target, *by)
    columns.check_names(project.data.SCHEMA, needed)
    train_rows, test_rows = preparing.split(
        preparing.prepare(read.read_parquet(valid_path, [*needed]), features, target, *by),
        model.TEST_SHARE,
        model.SPLIT,
    )
    problem.of_target(target).check_sides(
        preparing.array_of(train_rows[target.name]),
        preparing.array_of(test_rows[target.name]),
        target.name,
    )
    train_rows.to_parquet(train_path)
    test_rows.to_parquet(test_path)
    return len(train_rows), len(test_rows)


def train(project: Project, candidate: str, train_path: str, test_path: str) -> TrainedCandidate:
    """Train one candidate of CANDIDATES and measure it on the test rows.

    Raises:
        UserError: the candidate cannot be fitted, or the server could not load it.
    """
    model = project.model
    rows = _rows(project, train_path, test_path)
    fitted = training.train(project, model.CANDIDATES[candidate], rows, model.SEED)
    kind = problem.of_target(rows.target)
    inputs, truth = rows.inputs(rows.test), preparing.array_of(rows.test[rows.target.name])
    outputs = fitted.predict(training.table_of(inputs))
    figures = kind.figures(truth, outputs, fitted.classes)
    figures["feature_importance"] = evaluation.importance(
        fitted.model, fitted.predict, rows.test, rows.target, model.GATE.metric, model.SEED
    )
    return TrainedCandidate(
        name=candidate,
        trained=fitted,
        example=inputs.head(3),
        parameters=_estimator_parameters(fitted.model),
        test_metrics=kind.score(truth, outputs, fitted.classes, preparing.weights(rows.test)),
        figures=figures,
        metric=model.GATE.metric,
    )


def evaluate(
    project: Project,
    candidates: list[dict[str, Any]],
    train_path: str,
    test_path: str,
    run_id: str,
    key: str,
    out: str,
) -> Evaluated:
    """Choose the best candidate by cross-validation, measure it, draft its contract.

    Writes `evaluation.json` and `contract.json` into the folder `out`.

    Args:
        project: the repository.
        candidates: the summaries of the trained ones.
        train_path: the Parquet file of the training rows.
        test_path: the Parquet file of the test rows.
        run_id: the MLflow run, for the contract.
        key: the pipeline's run, for the contract.
        out: the folder to write.

    Raises:
        UserError: no candidate has a finite score.
    """
    gate = project.model.GATE
    rows = _rows(project, train_path, test_path)
    kind = problem.of_target(rows.target)
    by_name = {c["candidate"]: c for c in candidates}
    scores = {name: c["cross_validation"] for name, c in by_name.items()}
    chosen = by_name[evaluation.best(scores, gate.metric, kind)]
    served = ServedForm(**chosen["served"])
    with tempfile.TemporaryDirectory() as scratch:
        files = runs.download_model(project, chosen["model_id"], Path(scratch))
        predict = served_model.load_form(project, files, served, project.problem_type)
    provenance = Provenance(
        candidate=chosen["candidate"],
        trained_at=datetime.now(UTC).isoformat(timespec="seconds"),
        git_commit=project.commit,
        data_uri=project.settings.shown_data_uri,
        data_sha256=preparing.fingerprint(rows.train, rows.test),
        rows_train=len(rows.train),
        rows_test=len(rows.test),
        python=python_version(),
        packages=runs.packages(),
        pipeline_run=key,
        mlflow_run=run_id,
        mlflow_model=chosen["model_id"],
    )
    contract = describe(project, rows, predict, chosen["classes"], served, provenance)
    champion, note = _champion_score(project, rows, gate.metric)
    measured = gating.Evaluation(
        higher_is_better=kind.HIGHER_IS_BETTER[gate.metric],
        score=contract.metrics.get(gate.metric, math.nan),
        champion=champion,
        champion_note=note,
        slices=evaluation.slice_scores(rows.test, rows.target, predict, chosen["classes"], gate),
        latency_ms=evaluation.latency(rows.inputs(rows.test), predict),
    )
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    contract.write(folder)
    (folder / EVALUATION).write_text(measured.model_dump_json(indent=2))
    return Evaluated(chosen["candidate"], contract.metrics, measured.latency_ms)


def gate(project: Project, evaluated: str, decided: str) -> Contract:
    """Apply the gate; writes the contract with the decision into the folder `decided`."""
    measured = gating.Evaluation.model_validate_json((Path(evaluated) / EVALUATION).read_text())
    decision = gating.decide(measured, project.model.GATE)
    contract = Contract.read(Path(evaluated)).model_copy(update={"decision": decision})
    Path(decided).mkdir(parents=True, exist_ok=True)
    contract.write(Path(decided))
    return contract


def register(project: Project, decided: str, registered: str) -> Contract:
    """Register the model that passed, as the challenger; returns its contract, with the version.

    Raises:
        UserError: the gate rejected it.
    """
    contract = Contract.read(Path(decided))
    if contract.decision is None or not contract.decision.passed:
        raise UserError("only a model that passed the gate is registered")
    contract = versions.register(project, contract.provenance.mlflow_model, contract)
    Path(registered).mkdir(parents=True, exist_ok=True)
    contract.write(Path(registered))
    return contract


def verdict(decision: Decision | None) -> str:
    """The gate's decision in one word: "pass" or "reject"."""
    return "pass" if decision and decision.passed else "reject"


def _rows(project: Project, train_path: str, test_path: str) -> Rows:
    features, target = dataset.rules(project)
    return Rows(read.read_parquet(train_path), read.read_parquet(test_path), features, target)


def _champion_score(project: Project, rows: Rows, metric: str) -> tuple[float | None, str]:
    """The champion's score on these test rows, or why there is none."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "champion"
        try:
            contract = versions.fetch(project, versions.CHAMPION, folder)
        except versions.RegistryError:
            return None, "no champion yet"
        predict = served_model.load(project, folder, contract)
    name = f"champion version {contract.version}"
    unknown = [c.name for c in contract.features if c.name not in rows.test.columns]
    if unknown or contract.target.name != rows.target.name:
        missing = f"features {unknown}" if unknown else f"target {contract.target.name}"
        return None, f"{name} cannot be compared, its {missing} are gone from model.py"
    outputs = predict(training.table_of(rows.test[[c.name for c in contract.features]]))
    truth = preparing.array_of(rows.test[rows.target.name])
    scores = problem.of_target(rows.target).score(
        truth, outputs, contract.classes, preparing.weights(rows.test)
    )
    return scores[metric], name


def _estimator_parameters(fitted: Any) -> dict[str, object]:
    found: dict[str, object] = json.loads(json.dumps(fitted.steps[-1][1].get_params(), default=str))
    return found
