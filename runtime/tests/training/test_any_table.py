"""A table unlike the example: what training makes of it, and what server and batch then take."""

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from modelloop import Project
from modelloop.batch import drift, file, scoring
from modelloop.contract import served_model
from modelloop.contract.contract import Contract, Provenance
from modelloop.serving.families import Families
from modelloop.serving.inputs import Inputs
from modelloop.serving.predictor import Predictor, Refusal
from modelloop.table import bins, columns, prepare, validate
from modelloop.table.split import by_content, by_group, by_time
from modelloop.training import evaluate, outliers, problem, train
from modelloop.training.describe import describe

ROWS = 600
CITIES = 3000
FEATURES = ["net weight (kg)", 'the "best"', "数量", "2nd hand", "sold", "a b", "a_b", "city"]
SCHEMA = pa.DataFrameSchema(
    {
        "order id": pa.Column(str),
        "day": pa.Column("datetime64[ns]"),
        "trust": pa.Column(float),
        "net weight (kg)": pa.Column(float, nullable=True),
        'the "best"': pa.Column(str, pa.Check.isin(["it's", 'a "b"', "ö \\"])),
        "数量": pa.Column(int, pa.Check.ge(0)),
        "2nd hand": pa.Column(bool),
        "sold": pa.Column("boolean", nullable=True),
        "a b": pa.Column(float),
        "a_b": pa.Column(float),
        "city": pa.Column(str, pa.Check.isin([f"city {i}" for i in range(CITIES)])),
    },
    strict="filter",
    coerce=True,
)


def classifies(project: Project) -> bool:
    return project.problem_type == "classification"


def raw_table(project: Project) -> pd.DataFrame:
    random = np.random.default_rng(0)
    weight = random.normal(5, 2, ROWS)
    hand = random.random(ROWS) < 0.3
    table = pd.DataFrame(
        {
            "order id": [f"{i:08}" for i in range(ROWS)],
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(random.permutation(ROWS), "D"),
            "trust": random.integers(1, 4, ROWS),
            "net weight (kg)": np.where(random.random(ROWS) < 0.1, np.nan, weight),
            'the "best"': random.choice(["it's", 'a "b"', "ö \\"], ROWS),
            "数量": random.integers(0, 9, ROWS),
            "2nd hand": hand,
            "sold": random.choice(np.array([True, False, None], dtype=object), ROWS),
            "a b": random.normal(size=ROWS),
            "a_b": 7.0,  # a constant
            "city": [f"city {i}" for i in random.integers(0, CITIES, ROWS)],
        }
    )
    value = weight + 3 * hand + table["a b"]
    return table.assign(good=value > 6 if classifies(project) else value.round().astype(int))


def candidate(project: Project) -> Pipeline:
    split = make_column_transformer(
        (
            make_pipeline(SimpleImputer(), StandardScaler()),
            make_column_selector(dtype_include=np.number),
        ),
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude=np.number)),
    )
    estimator = LogisticRegression(max_iter=1000) if classifies(project) else Ridge()
    return make_pipeline(split, estimator)


def rows_of(project: Project, table: pd.DataFrame, weight: str | None, by) -> prepare.Rows:
    schema = SCHEMA.add_columns({"good": pa.Column(bool if classifies(project) else int)})
    features = columns.column_rules(schema, FEATURES)
    target = columns.target_rule(schema, "good", project.problem_type)
    valid = validate.validate(table, schema)
    prepared = prepare.prepare(valid, features, target, weight, by)
    return prepare.Rows(*prepare.split(prepared, 0.25, by), features, target)


def contract_of(project: Project, rows: prepare.Rows, trained: train.Trained) -> Contract:
    provenance = Provenance(
        candidate="only",
        trained_at=datetime.now(UTC).isoformat(timespec="seconds"),
        git_commit="0" * 40,
        data_uri="none",
        data_sha256=prepare.fingerprint(rows.train, rows.test),
        rows_train=len(rows.train),
        rows_test=len(rows.test),
        python="3",
        packages={},
        pipeline_run="none",
        mlflow_run="none",
        mlflow_model="none",
    )
    return describe(project, rows, trained.predict, trained.classes, trained.served, provenance)


@pytest.fixture(scope="module")
def raw(either) -> pd.DataFrame:
    return raw_table(either)


@pytest.fixture(scope="module")
def rows(either, raw) -> prepare.Rows:
    return rows_of(either, raw, "trust", by_time("day"))


@pytest.fixture(scope="module")
def folder(either, rows, tmp_path_factory) -> Path:
    """The model, trained by weights and in time, as the server reads it."""
    made = tmp_path_factory.mktemp("any")
    trained = train.train(either, lambda: candidate(either), rows, seed=1)
    contract = contract_of(either, rows, trained).model_copy(update={"version": "1"})
    contract.write(made)
    (made / contract.served.file).write_bytes(trained.file)
    return made


@pytest.fixture(scope="module")
def predictor(either, folder) -> Predictor:
    return Predictor.load(either, folder, max_rows=1000)


@pytest.fixture
def row(raw) -> dict[str, object]:
    """A row as a client sends it."""
    return json.loads(raw[FEATURES].dropna().iloc[0].to_json())


def test_it_is_served_as_onnx_under_the_names_of_its_columns(either, folder):
    contract = Contract.read(folder)
    assert contract.served.form == "onnx", contract.served.reason
    assert [c.name for c in contract.features] == FEATURES
    kinds = {c.name: (c.kind, c.dtype) for c in contract.features}
    assert kinds["2nd hand"] == kinds["sold"] == ("category", "bool")
    assert kinds["数量"] == ("number", "int64")
    assert contract.classes == (["false", "true"] if classifies(either) else [])


def test_identifier_date_and_weight_are_not_learnt_from(rows, folder):
    assert {"__weight__", "__time__"} <= {*rows.train.columns}
    assert list(rows.inputs(rows.train).columns) == FEATURES
    assert not {"order id", "day", "trust"} & {*rows.train.columns}


def test_a_client_sends_true_and_false_or_their_names(predictor, row):
    assert type(row["2nd hand"]) is bool
    named = row | {"2nd hand": str(row["2nd hand"]).lower(), "sold": str(row["sold"]).lower()}
    answers = [
        predictor.predict(FEATURES, [[sent[name] for name in FEATURES]]) for sent in (row, named)
    ]
    np.testing.assert_array_equal(answers[0].outputs, answers[1].outputs)
    other = row | {"2nd hand": not row["2nd hand"]}
    changed = predictor.predict(FEATURES, [[other[name] for name in FEATURES]])
    assert abs(changed.outputs - answers[0].outputs).max() > 0.01
    without = row | {"sold": None}
    assert predictor.predict(FEATURES, [list(without.values())]).inputs["sold"] == ["missing"]


@pytest.mark.parametrize(
    ("name", "value", "reason", "message"),
    [
        ("2nd hand", 1, "UNKNOWN_CATEGORY", "row 0, 2nd hand: 1 is refused; send true or false"),
        ("2nd hand", "yes", "UNKNOWN_CATEGORY", "'yes' is refused; send true or false"),
        ("2nd hand", None, "MISSING_VALUE", "null is refused; send true or false"),
        ("sold", 0.0, "UNKNOWN_CATEGORY", "0.0 is refused; send true or false, or null"),
        ('the "best"', True, "NOT_TEXT", "true is refused; send one of"),
        ("数量", True, "NOT_A_NUMBER", "true is refused; send a number from 0"),
        ("city", "Atlantis", "UNKNOWN_CATEGORY", "and 2980 more"),
    ],
)
def test_what_is_no_value_of_a_column_is_refused(predictor, row, name, value, reason, message):
    with pytest.raises(Refusal) as refused:
        predictor.predict(FEATURES, [[(row | {name: value})[n] for n in FEATURES]])
    assert refused.value.reason == reason
    assert message in str(refused.value)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_batch_takes_the_file_that_training_took_and_keeps_every_column(
    either, folder, raw, tmp_path, ending
):
    source, target = tmp_path / f"rows.{ending}", tmp_path / "scores.parquet"
    (raw.to_csv if ending == "csv" else raw.to_parquet)(source, index=False)
    report = file.score(scoring.LocalModel(either, folder), source, target)
    assert (report.rows, report.refused) == (ROWS, 0)
    found = pd.read_parquet(target)
    assert [*found.columns[: len(raw.columns)]] == [*raw.columns]
    assert found["order id"].astype(str).str.zfill(8).tolist() == raw["order id"].tolist()
    assert {drift.metric(name) for name in report.psi} >= {"psi_net weight _kg_", "psi_数量"}


def test_metrics_name_the_columns_as_they_are(folder, rows):
    contract = Contract.read(folder)
    families = Families({"model_name": "any"})
    inputs = Inputs(contract, families)
    families.open()
    inputs.count(train.table_of(rows.inputs(rows.test)), len(rows.test))
    registry = CollectorRegistry()
    registry.register(families)
    page = generate_latest(registry).decode()
    counted = dict.fromkeys(FEATURES, 0.0)
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name == "model_feature_bin_total":
                counted[sample.labels["feature"]] += sample.value
    assert counted == dict.fromkeys(FEATURES, len(rows.test))


def test_of_thousands_of_categories_every_one_is_allowed_and_few_are_watched(folder):
    (city,) = [c for c in Contract.read(folder).features if c.name == "city"]
    assert len(city.categories) == CITIES
    assert len(city.reference.categories) == bins.MOST_CATEGORIES


def test_weights_change_what_is_learnt_and_how_it_is_measured(either, raw):
    kind, build = problem.of_type(either.problem_type), lambda: candidate(either)
    heavy = raw.assign(trust=np.where(raw["2nd hand"], 1000.0, 1.0))
    plain, weighted = (rows_of(either, heavy, name, by_content()) for name in (None, "trust"))
    fits = [train.fit(build(), r, r.train)[-1].coef_ for r in (plain, weighted)]
    assert abs(fits[0] - fits[1]).max() > 0.01
    scores = [train.cross_validate(build, r, seed=1) for r in (plain, weighted)]
    assert scores[0] != scores[1]
    predict = train.from_sklearn(train.fit(build(), plain, plain.train), either.problem_type)
    outputs = predict(train.table_of(weighted.inputs(weighted.test)))
    truth = weighted.test["good"].to_numpy()
    classes = ["false", "true"] if classifies(either) else []
    by_weight = kind.score(truth, outputs, classes, prepare.weights(weighted.test))
    only = weighted.test["2nd hand"] == "true"
    nearly = kind.score(truth[only], outputs[only], classes)
    metric = "accuracy" if classifies(either) else "mae"
    assert by_weight[metric] == pytest.approx(nearly[metric], rel=0.02)


def test_an_estimator_without_weights_is_named(rows):
    message = "KNeighborsClassifier takes no sample_weight: take the"
    with pytest.raises(train.UserError, match=message):
        train.fit(make_pipeline(SimpleImputer(), KNeighborsClassifier()), rows, rows.train)


def test_plots_and_slices_see_the_features_only(either, rows):
    fitted = train.fit(candidate(either), rows, rows.train)
    metric = "accuracy" if classifies(either) else "rmse"
    predict = train.from_sklearn(fitted, either.problem_type)
    classes = problem.of_type(either.problem_type).classes_of(fitted)
    figure = evaluate.importance(fitted, predict, rows.test, rows.target, metric, seed=0)
    assert len(figure.axes[0].get_yticklabels()) == len(FEATURES)
    gate = evaluate.Gate(metric=metric, floor=0, margin=0, slices=["2nd hand"])
    scores = evaluate.slice_scores(rows.test, rows.target, predict, classes, gate)
    assert [*scores] == ["2nd hand=false", "2nd hand=true"]


def test_cross_validation_in_time_holds_out_what_is_newer(rows):
    when = rows.train["__time__"]
    for fitted, held_out in train.folds(rows, seed=1):
        assert when.iloc[fitted].max() <= when.iloc[held_out].min()


def test_cross_validation_holds_out_whole_groups(either, raw):
    weeks = raw.assign(day=raw["day"].dt.to_period("W").dt.start_time)
    rows = rows_of(either, weeks, None, by_group("day"))
    groups, held = rows.train["__group__"], []
    for fitted, held_out in train.folds(rows, seed=1):
        assert not {*groups.iloc[fitted]} & {*groups.iloc[held_out]}
        held += held_out.tolist()
    assert sorted(held) == [*range(len(rows.train))]
    few = prepare.Rows(rows.train.assign(__group__="a"), rows.test, rows.features, rows.target)
    with pytest.raises(columns.DataError, match="1 groups are to train, at least 5 needed"):
        next(train.folds(few, seed=1))


def test_a_wide_table_has_a_contract_of_a_bearable_size(project):
    width, random = 500, np.random.default_rng(0)
    table = pd.DataFrame(
        random.normal(size=(300, width)).astype("float32"), columns=[f"x{i}" for i in range(width)]
    )
    truth = table["x0"] + table["x499"]
    table["y"] = np.where(truth > 0, "high", "low") if classifies(project) else truth
    kind = "category" if classifies(project) else "number"
    rules = [
        columns.ColumnRule(name, kind, "float64", True, "", "", None, None, None)
        for name, kind in [*((f"x{i}", "number") for i in range(width)), ("y", kind)]
    ]
    rows = prepare.Rows(*prepare.split(table, 0.25), rules[:-1], rules[-1])
    trained = train.train(project, lambda: candidate(project), rows, seed=1)
    contract = contract_of(project, rows, trained)
    assert trained.served.form == "onnx", trained.served.reason
    assert len(contract.model_dump_json()) < 2_000_000
    assert len(contract.golden) == 2 * evaluate.GOLDEN_ROWS
    tried = [{n for n, v in row.inputs.items() if v is None} for row in contract.golden]
    assert set().union(*tried) == {rule.name for rule in rules[:-1]}
    assert contract.outliers.features == [f"x{i}" for i in range(outliers.MOST_NUMBERS)]
    # The detector looks at some, the bins at all.
    scored = scoring.Scored(
        trained.predict(inputs := train.table_of(rows.inputs(rows.test))), {}, inputs
    )
    seen = drift.Drift(contract)
    seen.count(scored)
    rows_seen = seen.bins().groupby("feature")["rows"].sum()
    assert (rows_seen == len(rows.test)).all()
    one = drift.Drift(contract)
    first = {name: values[:1] for name, values in inputs.items()}
    one.count(scoring.Scored(scored.outputs[:1], {}, first))
    assert (one.bins().groupby("feature")["rows"].sum() == 1).all()


def test_many_rows_are_predicted_in_parts(either, folder, rows, monkeypatch):
    contract = Contract.read(folder)
    table = train.table_of(rows.inputs(rows.test))
    whole = served_model.load(either, folder, contract)(table)
    monkeypatch.setattr(served_model, "ROWS", 7)
    parts = served_model.load(either, folder, contract)(table)
    np.testing.assert_allclose(parts, whole, rtol=1e-6)
    assert parts.shape == whole.shape
