"""Tables are scored as the server would score their rows, by a local model or by a server."""

import http.server
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelloop import Contract, Project, UserError
from modelloop.batch import scoring
from modelloop.serving import client
from modelloop.serving.predictor import Predictor, Refusal
from modelloop.testing import example_model
from modelloop.testing.servers import Server, running

NUMBERS = st.one_of(
    st.floats(-1, 11),
    st.sampled_from([0.0, 10.0, 10.000001, -0.0, 3.5e38, float("inf"), float("-inf"), 1e300]),
    st.just(float("nan")),
)
WHOLE = st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 12)
TEXT = st.sampled_from(["red", "green", "blue", "Red", "", "5", "missing"]) | st.none()
ANY = st.one_of(NUMBERS, WHOLE, TEXT, st.booleans(), st.just([1]), st.just(10**400))
# What a column of a file may be.
COLUMNS = [
    (NUMBERS, "float64"),
    (NUMBERS, "float32"),
    (WHOLE, "int64"),
    (st.booleans(), "bool"),
    (TEXT, "str"),
    (TEXT, "category"),
    (ANY, "object"),
]


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    n = draw(st.integers(1, 6))
    columns = {}
    for name in example_model.NAMES:
        values, dtype = draw(st.sampled_from(COLUMNS))
        drawn = draw(st.lists(values, min_size=n, max_size=n))
        with np.errstate(over="ignore"):
            columns[name] = pd.Series(drawn, dtype=object).astype(dtype)
    return pd.DataFrame(columns)


@pytest.fixture(scope="module")
def model(project: Project, example: Path) -> scoring.LocalModel:
    return scoring.LocalModel(project, example)


@given(table=tables())
def test_the_servers_rules_decide_which_rows_are_refused_and_why(example, table):
    contract = Contract.read(example)
    one = Predictor(contract, lambda inputs: np.ones((1, 1)), max_rows=1)

    checked = scoring.Rules(contract).check(table)

    for position, row in enumerate(table.itertuples(index=False)):
        values = [
            None if not isinstance(v, list) and pd.isna(v) else getattr(v, "item", lambda v=v: v)()
            for v in row
        ]
        inputs, message = verdict(one, values)
        if message:
            assert f"row 0, {checked.refused[position]}" == message
            assert position not in checked.positions
        else:
            place = checked.positions.tolist().index(position)
            for name, value in inputs.items():
                np.testing.assert_array_equal(checked.table[name][place], value[0])


def verdict(predictor: Predictor, values: list[object]) -> tuple[dict | None, str]:
    """The inputs of the model for a row, or the message of the refusal."""
    try:
        return predictor.predict(None, [values]).inputs, ""
    except Refusal as refusal:
        return None, str(refusal)


def test_valid_rows_are_answered_and_refused_ones_never_reach_the_model(model):
    table = pd.DataFrame(
        {"mass": [1.0, 11.0, np.nan], "age": [36, 36, 20], "colour": ["red", "red", "green"]}
    )

    scored = model.score(table)

    np.testing.assert_allclose(scored.outputs[[0, 2]], [[10], [8]], rtol=1e-6)
    assert np.isnan(scored.outputs[1]).all()
    assert scored.refused == {1: "mass: 11.0 is refused; send a number from 0 to 10 kg, or null"}
    assert scored.inputs["age"].tolist() == [36, 20]
    assert scored.answered.tolist() == [True, False, True]


def test_other_columns_and_the_order_of_columns_make_no_difference(model):
    table = pd.DataFrame({"note": ["x"], "colour": ["red"], "age": [36], "mass": [1]}, index=[77])

    np.testing.assert_allclose(model.score(table).outputs, [[10]], rtol=1e-6)


def test_a_row_on_which_the_model_answers_no_number_costs_no_other_row(model):
    table = pd.DataFrame({"mass": 1.0, "age": [36, example_model.FAILS, 20], "colour": "red"})

    scored = model.score(table)

    assert scored.refused == {1: scoring.NOT_FINITE}
    np.testing.assert_allclose(scored.outputs[[0, 2]], [[10], [8]], rtol=1e-6)
    assert np.isnan(scored.outputs[1]).all()
    assert scored.inputs["age"].tolist() == [36, 20]


def test_a_table_without_valid_rows_is_no_error(model):
    table = pd.DataFrame({"mass": [-1.0], "age": [36], "colour": ["red"]})

    scored = model.score(table)

    assert np.isnan(scored.outputs).all()
    assert [*scored.refused] == [0]
    assert scored.outputs.shape == (1, 1)


def test_columns_that_are_missing_or_there_twice_are_named(model):
    table = pd.DataFrame({"mass": [1.0], "colour": ["red"]})
    assert scoring.missing_columns(table, model.contract) == ["age"]
    with pytest.raises(UserError, match="no column 'age'; the model's features are 'mass', 'age'"):
        model.score(table)

    twice = pd.DataFrame([[1.0, 36, "red", "red"]], columns=[*example_model.NAMES, "colour"])
    with pytest.raises(UserError, match="more than one column 'colour'"):
        model.score(twice)


def test_labels_are_the_most_probable_classes(tmp_path):
    contract = example_model.make_classifier(tmp_path)
    outputs = np.array([[0.2, 0.5, 0.3], [np.nan] * 3, [0.1, 0.2, 0.7]])

    assert scoring.labels(outputs, contract) == ["mid", None, "other"]
    assert scoring.labels(outputs[:, :1], example_model.make(tmp_path)) is None


def test_text_of_a_csv_file_gets_the_types_of_the_features(model):
    text = pd.DataFrame(
        {
            "mass": ["1.5", "", "NA"],
            "age": ["36", "1e1", "old"],
            "colour": ["red", "None", "5"],
            "id": ["007", "NA", ""],
        },
        dtype=str,
    )

    typed = scoring.typed(text, model.contract)

    assert typed["mass"].dtype == np.float64
    assert typed["mass"].isna().tolist() == [False, True, True]
    assert typed["age"].tolist() == [36.0, 10.0, "old"]
    assert typed["colour"].isna().tolist() == [False, True, False]
    assert typed["colour"].tolist()[2] == "5"
    assert typed["id"].tolist() == ["007", "NA", ""]
    scored = model.score(typed)
    assert scored.refused[1].startswith("colour: null is refused")
    assert scored.refused[2] == "age: 'old' is refused; send a number within float32"
    assert [*scored.refused] == [1, 2]


def test_text_that_is_a_number_to_python_only_stays_text(model):
    text = pd.DataFrame({"age": ["1_000", "1000"]}, dtype=str)
    assert scoring.typed(text, model.contract)["age"].tolist() == ["1_000", 1000.0]


class Front(http.server.ThreadingHTTPServer):
    """A proxy, as an ingress is; it passes requests to the server `behind`."""

    daemon_threads = True

    def __init__(self, behind: Server) -> None:
        super().__init__(("127.0.0.1", 0), Passing)
        self.behind = behind

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Passing(http.server.BaseHTTPRequestHandler):
    server: Front

    def do_GET(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))) or None
        answer = self.server.behind.call(self.command, self.path, body)
        self.send_response(answer.status)
        self.end_headers()
        self.wfile.write(answer.text.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def front(behind: Server) -> Iterator[Front]:
    server = Front(behind)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def server(project, serve_python, example, tmp_path_factory) -> Iterator[Server]:
    """Takes 20 rows a request."""
    log = tmp_path_factory.mktemp("server") / "log"
    with running(project, serve_python, example, log, MAX_ROWS=20) as server:
        yield server


@pytest.fixture(scope="module")
def strict(project, serve_python, tmp_path_factory) -> Iterator[Server]:
    """The same version, but no age above 40 is allowed."""
    folder = tmp_path_factory.mktemp("strict")
    contract = example_model.make(folder)
    features = [
        c.model_copy(update={"maximum": 40}) if c.name == "age" else c for c in contract.features
    ]
    contract.model_copy(update={"features": features}).write(folder)
    with running(project, serve_python, folder, folder / "log") as server:
        yield server


@pytest.mark.slow
def test_a_server_answers_what_the_model_answers_in_requests_that_the_server_takes(server, model):
    n = scoring.REQUEST_ROWS + 50
    table = pd.DataFrame(
        {
            "mass": np.linspace(-1, 10, n),
            "age": np.arange(n) % 90,
            "colour": ["red", "green"] * (n // 2),
        }
    )
    table.loc[5, "mass"] = np.nan
    endpoint = scoring.Endpoint(f"http://127.0.0.1:{server.port}")

    scored = endpoint.score(table)

    here = model.score(table)
    assert endpoint.contract == model.contract
    assert scored.refused == here.refused
    assert len(here.refused) > 50
    np.testing.assert_allclose(scored.outputs, here.outputs)
    np.testing.assert_array_equal(scored.inputs["mass"], here.inputs["mass"])


@pytest.mark.slow
def test_a_row_that_the_server_alone_refuses_costs_no_other_row(server, strict):
    table = pd.DataFrame({"mass": 1.0, "age": [36, 50, 20, 60], "colour": "red"})
    with front(server) as address:
        endpoint = scoring.Endpoint(address.url)
        address.behind = strict

        scored = endpoint.score(table)

    assert scored.refused == {
        row: f"age: {age} is refused; send a number to 40 within float32"
        for row, age in ((1, 50), (3, 60))
    }
    np.testing.assert_allclose(scored.outputs[[0, 2]], [[10], [8]], rtol=1e-6)
    assert scored.inputs["age"].tolist() == [36, 20]


@pytest.mark.slow
def test_answers_of_another_version_are_not_mixed_in(project, server, serve_python, tmp_path):
    contract = example_model.make(tmp_path)
    contract.model_copy(update={"version": "4"}).write(tmp_path)
    table = pd.DataFrame({"mass": [1.0], "age": [36], "colour": ["red"]})
    with (
        running(project, serve_python, tmp_path, tmp_path / "log") as newer,
        front(server) as address,
    ):
        endpoint = scoring.Endpoint(address.url)
        address.behind = newer

        with pytest.raises(client.ServerError, match=r"version 4 .* said 3"):
            endpoint.score(table)


@pytest.mark.slow
def test_a_model_that_fails_is_an_error(server):
    table = pd.DataFrame({"mass": 1.0, "age": [example_model.FAILS], "colour": "red"})
    with pytest.raises(client.ServerError, match="MODEL_FAILED") as failure:
        scoring.Endpoint(f"http://127.0.0.1:{server.port}").score(table)
    assert failure.value.status == 500


@pytest.mark.slow
def test_a_server_that_is_slow_or_gone_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(client.ServerError, match="timed out"):
            scoring.Endpoint(url, timeout=0.2)
    with pytest.raises(client.ServerError, match="refused") as failure:
        scoring.Endpoint(url)
    assert failure.value.status == 0


@pytest.mark.slow
def test_metadata_without_a_contract_is_an_error(server):
    class Old:
        """A server whose metadata has no contract yet."""

        def call(self, *request: object) -> object:
            answer = server.call(*request)
            metadata = answer.json
            del metadata["custom"]["contract"]
            return type(answer)(answer.status, answer.headers, json.dumps(metadata))

    with front(Old()) as address, pytest.raises(client.ServerError, match="holds no contract"):
        scoring.Endpoint(address.url)
