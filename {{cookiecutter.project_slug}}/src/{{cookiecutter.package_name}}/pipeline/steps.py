"""The steps of the training pipeline: read files, call the pure functions, keep the results.

A step takes and leaves files, so that it runs in a process of its own on the laptop and in a
container of its own on a cluster. Nothing here knows of Kubeflow.
"""

import json
import math
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from .. import columns, data, model, project, registry, served_model, settings, tables, tracking
from ..contract import Contract, Provenance, ServedForm
from ..errors import UserError
from ..tracking import ParentRun
from ..training import choices, problem
from ..training import evaluate as evaluation
from ..training import gate as gating
from ..training import prepare as preparing
from ..training import train as training
from ..training import validate as validation
from ..training.describe import describe
from ..training.prepare import Rows

EVALUATION = "evaluation.json"


def ingest(key: str, raw_path: str) -> str:
    """Open the MLflow run of the pipeline run and load the raw table into a Parquet file.

    Raises:
        DataError: model.py and data.py do not fit each other.
    """
    env = settings.load()
    parameters = {
        "data_uri": env.shown_data_uri,
        "target": model.TARGET,
        "features": ",".join(model.FEATURES),
        "candidates": ",".join(model.CANDIDATES),
        "test_share": model.TEST_SHARE,
        "split": model.SPLIT,
        "weight": model.WEIGHT,
        "seed": model.SEED,
    }
    run = ParentRun.open(env, key, parameters)
    run.tag_reason(env)
    choices.check(model, data.SCHEMA)
    raw = data.load(env.data_uri, env.data_query)
    try:
        raw.to_parquet(raw_path)
    except (ValueError, TypeError) as error:  # pyarrow's errors: a column mixes text and numbers
        raise tables.TableError(f"the raw table cannot be stored: {error}") from error
    return run.id


def validate(raw_path: str, run_id: str, valid_path: str) -> int:
    """Keep the raw table and the schema in MLflow, hold one against the other.

    Returns:
        The number of rows.

    Raises:
        DataError: rows break the schema, or too many of them repeat another.
    """
    env = settings.load()
    run = ParentRun(env, run_id)
    raw = tables.read_parquet(raw_path)
    run.log_text(data.SCHEMA.to_json(indent=2), "schema.json")
    run.log_dataset(raw, Path(raw_path), "raw", env.shown_data_uri)
    valid = validation.validate(raw, data.SCHEMA)
    del raw
    validation.check_duplicates(valid, data.DUPLICATES)
    valid.to_parquet(valid_path)
    return len(valid)


def prepare(valid_path: str, run_id: str, train_path: str, test_path: str) -> dict[str, int]:
    """Prepare and split; keep the prepared tables in MLflow before the candidates start.

    Here and not in the candidates: MLflow fails when parallel runs log one new dataset at once.
    """
    env = settings.load()
    run = ParentRun(env, run_id)
    features, target = _rules()
    asked = preparing.needed(features, target, model.WEIGHT, model.SPLIT)
    columns.check_names(data.SCHEMA, asked)
    train_rows, test_rows = preparing.split(
        preparing.prepare(
            tables.read_parquet(valid_path, [*asked]),
            features,
            target,
            model.WEIGHT,
            model.SPLIT,
        ),
        model.TEST_SHARE,
        model.SPLIT,
    )
    problem.check_sides(
        preparing.array_of(train_rows[model.TARGET]),
        preparing.array_of(test_rows[model.TARGET]),
        model.TARGET,
    )
    for name, rows, path in (("train", train_rows, train_path), ("test", test_rows, test_path)):
        rows.to_parquet(path)
        run.log_dataset(rows, Path(path), name, env.shown_data_uri)
    return {"rows": len(train_rows), "test_rows": len(test_rows)}


def train(candidate: str, train_path: str, test_path: str, run_id: str) -> dict[str, object]:
    """Train one candidate in a nested MLflow run; returns what evaluate needs to choose."""
    run = ParentRun(settings.load(), run_id)
    rows = _rows(train_path, test_path)
    with run.candidate(candidate):
        fitted = training.train(model.CANDIDATES[candidate], rows, model.SEED)
        inputs, truth = rows.inputs(rows.test), preparing.array_of(rows.test[model.TARGET])
        outputs = fitted.predict(training.table_of(inputs))
        test = problem.score(truth, outputs, fitted.classes, preparing.weights(rows.test))
        figures = problem.figures(truth, outputs, fitted.classes)
        figures["feature_importance"] = evaluation.importance(
            fitted.model, fitted.predict, rows.test, model.TARGET, model.GATE.metric, model.SEED
        )
        model_id = tracking.log_candidate(
            fitted.model,
            inputs.head(3),
            {fitted.served.file: fitted.file},
            {"candidate": candidate, **_estimator_parameters(fitted.model)},
            {f"cv_{k}": v for k, v in fitted.cross_validation.items()}
            | {f"test_{k}": v for k, v in test.items()},
            figures,
        )
    return {
        "candidate": candidate,
        "model_id": model_id,
        "cross_validation": fitted.cross_validation[model.GATE.metric],
        "classes": fitted.classes,
        "served": fitted.served.model_dump(),
    }


def evaluate(
    candidates: list[dict], train_path: str, test_path: str, run_id: str, key: str, out: str
) -> dict[str, float]:
    """Choose the best candidate by cross-validation, measure it, draft its contract.

    Writes `evaluation.json` and `contract.json` into the folder `out`; returns the measurements.
    """
    env = settings.load()
    run = ParentRun(env, run_id)
    gate = model.GATE
    by_name = {c["candidate"]: c for c in candidates}
    chosen = by_name[
        evaluation.best({n: c["cross_validation"] for n, c in by_name.items()}, gate.metric)
    ]
    rows = _rows(train_path, test_path)
    served = ServedForm(**chosen["served"])
    with tempfile.TemporaryDirectory() as scratch:
        files = tracking.download_model(chosen["model_id"], Path(scratch))
        predict = served_model.load_form(files, served, project.PROBLEM_TYPE)
    provenance = Provenance(
        candidate=chosen["candidate"],
        trained_at=datetime.now(UTC).isoformat(timespec="seconds"),
        git_commit=env.commit,
        data_uri=env.shown_data_uri,
        data_sha256=preparing.fingerprint(rows.train, rows.test),
        rows_train=len(rows.train),
        rows_test=len(rows.test),
        python=settings.python_version(),
        packages=tracking.packages(),
        pipeline_run=key,
        mlflow_run=run_id,
        mlflow_model=chosen["model_id"],
    )
    contract = describe(rows, predict, chosen["classes"], served, provenance)
    champion, note = _champion_score(env, rows.test, gate.metric)
    measured = gating.Evaluation(
        higher_is_better=problem.HIGHER_IS_BETTER[gate.metric],
        score=contract.metrics.get(gate.metric, math.nan),
        champion=champion,
        champion_note=note,
        slices=evaluation.slice_scores(rows.test, model.TARGET, predict, chosen["classes"], gate),
        latency_ms=evaluation.latency(rows.inputs(rows.test), predict),
    )
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    contract.write(folder)
    (folder / EVALUATION).write_text(measured.model_dump_json(indent=2))
    run.log_metrics({f"test_{k}": v for k, v in contract.metrics.items()})
    run.log_metrics({"latency_ms": measured.latency_ms})
    run.tag(candidate=chosen["candidate"])
    return contract.metrics


def gate(evaluated: str, run_id: str, decided: str) -> str:
    """Judge the measurements; returns "pass" or "reject".

    Writes the contract with the decision into the folder `decided`, and both into MLflow.
    """
    run = ParentRun(settings.load(), run_id)
    measured = gating.Evaluation.model_validate_json((Path(evaluated) / EVALUATION).read_text())
    decision = gating.decide(measured, model.GATE)
    contract = Contract.read(Path(evaluated)).model_copy(update={"decision": decision})
    Path(decided).mkdir(parents=True, exist_ok=True)
    contract.write(Path(decided))
    verdict = "pass" if decision.passed else "reject"
    run.log_text(decision.model_dump_json(indent=2), "gate.json")
    run.log_text(decision.table() + "\n", "gate.txt")
    run.log_text(contract.model_dump_json(indent=2), "contract.json")
    run.tag(**{tracking.GATE: verdict, "gate.reasons": "; ".join(decision.reasons) or "none"})
    return verdict


def register(decided: str, run_id: str, registered: str) -> str:
    """Register the model that passed, as the challenger; returns its version."""
    env = settings.load()
    contract = Contract.read(Path(decided))
    if contract.decision is None or not contract.decision.passed:
        raise UserError("only a model that passed the gate is registered")
    contract = registry.register(env, contract.provenance.mlflow_model, contract)
    Path(registered).mkdir(parents=True, exist_ok=True)
    contract.write(Path(registered))
    ParentRun(env, run_id).tag(version=contract.version)
    return contract.version


def close(key: str, *, succeeded: bool) -> None:
    """End the MLflow run of the pipeline run, whatever happened."""
    tracking.close(settings.load(), key, succeeded=succeeded)


def _rules() -> tuple[list[columns.ColumnRule], columns.ColumnRule]:
    target = columns.target_rule(data.SCHEMA, model.TARGET)
    return columns.column_rules(data.SCHEMA, model.FEATURES), target


def _rows(train_path: str, test_path: str) -> Rows:
    features, target = _rules()
    rows, test_rows = tables.read_parquet(train_path), tables.read_parquet(test_path)
    return Rows(rows, test_rows, features, target)


def _champion_score(
    env: settings.Settings, test_rows: pd.DataFrame, metric: str
) -> tuple[float | None, str]:
    """The champion's score on these test rows, or why there is none."""
    with tempfile.TemporaryDirectory() as scratch:
        try:
            contract = registry.fetch(env, registry.CHAMPION, Path(scratch) / "champion")
        except registry.RegistryError:
            return None, "no champion yet"
        predict = served_model.load(Path(scratch) / "champion", contract)
    name = f"champion version {contract.version}"
    unknown = [c.name for c in contract.features if c.name not in test_rows.columns]
    if unknown or contract.target.name != model.TARGET:
        gone = f"features {unknown}" if unknown else f"target {contract.target.name}"
        return None, f"{name} cannot be compared, its {gone} are gone from model.py"
    outputs = predict(training.table_of(test_rows[[c.name for c in contract.features]]))
    truth = preparing.array_of(test_rows[model.TARGET])
    scores = problem.score(truth, outputs, contract.classes, preparing.weights(test_rows))
    return scores[metric], name


def _estimator_parameters(fitted: object) -> dict[str, object]:
    """The hyper-parameters of the pipeline's last step."""
    return json.loads(json.dumps(fitted.steps[-1][1].get_params(), default=str))
