"""The page, as people use it, on real servers."""

import io
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from modelloop import Project, subprocesses
from modelloop.app.words import label
from modelloop.contract.contract import Contract
from modelloop.testing import example_model

Open = Callable[[str], AppTest]


@pytest.fixture
def open_page(project: Project, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Open the page of the server at an address."""

    def opened(url: str) -> AppTest:
        monkeypatch.setenv("MODEL_URL", url)
        page = AppTest.from_file(str(project.root / "app" / "demo.py"), default_timeout=60).run()
        assert not page.exception
        return page

    return opened


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classifier")
    example_model.make_classifier(folder)
    return folder


def table(rows: int = 2500) -> pd.DataFrame:
    """Rows for the small model; the tenth and the eleventh are refused."""
    made = pd.DataFrame({"id": range(rows), "mass": 2.5, "age": 36, "colour": "red"})
    made.loc[10, "mass"] = 10.5
    made.loc[11, "colour"] = "blue"
    return made


def upload(page: AppTest, rows: pd.DataFrame, name: str = "rows.csv") -> None:
    file = io.BytesIO()
    rows.to_parquet(file) if name.endswith(".parquet") else rows.to_csv(file, index=False)
    page.file_uploader(key="file").set_value((name, file.getvalue(), "")).run()
    assert not page.exception


def press(page: AppTest, text: str) -> None:
    (button,) = (button for button in page.button if button.label == text)
    button.click().run()
    assert not page.exception


def number(page: AppTest, name: str) -> object:
    return next(field for field in page.number_input if field.label == name)


def metrics(page: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in page.metric}


def test_a_case_is_answered_with_a_value_and_its_usual_error(
    serve: Callable, example: Path, open_page: Open
):
    page = open_page(serve(example))

    number(page, "age").set_value(20)
    press(page, "Ask the model")

    assert metrics(page) == {"value": "8"}  # 640 / (100 - 20)
    captions = [caption.value for caption in page.caption]
    assert any("usually off by 0.5" in caption for caption in captions)


def test_a_case_is_answered_with_the_chance_of_each_class(
    serve: Callable, classifier: Path, open_page: Open
):
    page = open_page(serve(classifier))

    number(page, "age").set_value(36)
    press(page, "Ask the model")

    assert metrics(page) == {"value": "low, 50%"}


def test_a_refusal_is_shown_at_its_field(serve: Callable, example: Path, open_page: Open):
    page = open_page(serve(example))

    number(page, "mass (kg)").set_value(10.5)
    number(page, "age").set_value(20)
    press(page, "Ask the model")

    (error,) = page.error
    drawn = [(node.type, getattr(node, "label", "")) for node in page.main]
    assert error.value == "10.5 is refused; send a number from 0 to 10 kg, or null"
    assert drawn.index(("error", "")) > drawn.index(("number_input", "mass (kg)"))
    assert drawn.index(("error", "")) < drawn.index(("number_input", "age"))
    assert not page.metric


def test_a_missing_value_is_sent_where_it_is_allowed_and_refused_where_not(
    serve: Callable, example: Path, open_page: Open
):
    page = open_page(serve(example))

    page.checkbox[0].check()
    press(page, "Ask the model")

    assert [box.label for box in page.checkbox] == ["missing"]  # of the mass alone
    assert [error.value for error in page.error] == [
        "null is refused; send a number within float32"  # the age, which has no median
    ]
    number(page, "age").set_value(36)
    press(page, "Ask the model")
    assert metrics(page) == {"value": "10"}


def test_another_contract_gives_another_form(serve: Callable, model_dir: Path, open_page: Open):
    contract = Contract.read(model_dir)

    page = open_page(serve(model_dir))

    numbers = {field.label: field.value for field in page.number_input}
    choices = {field.label: field.options for field in page.selectbox}
    assert numbers == {label(c): c.median for c in contract.features if c.kind == "number"}
    categories = [column for column in contract.features if column.kind == "category"]
    assert choices == {label(c): c.categories or c.reference.categories for c in categories}
    assert len(page.checkbox) == sum(column.nullable for column in contract.features)
    press(page, "Ask the model")
    assert len(page.metric) == 1


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet"])
def test_a_file_is_scored_and_its_refused_rows_are_marked(
    serve: Callable, classifier: Path, open_page: Open, name: str
):
    page = open_page(serve(classifier))
    upload(page, table(), name)

    press(page, "Score 2,500 rows")

    shown = metrics(page)
    results = page.session_state["run"][1].results()
    assert (shown["Rows scored"], shown["Rows refused"]) == ("2,498", "2")
    assert results["id"].astype(int).tolist() == list(range(2500))
    assert results["refused"].loc[lambda reason: reason != ""].to_dict() == {
        10: "mass: 10.5 is refused; send a number from 0 to 10 kg, or null",
        11: "colour: 'blue' is refused; send one of 'red', 'green'",
    }
    answered = results.drop([10, 11])
    assert set(answered["prediction"]) == {"low"}
    assert set(answered["model_version"]) == {"3"}
    for name, chance in zip(example_model.CLASSES, example_model.CHANCES, strict=True):
        assert answered[f"probability_{name}"].to_numpy() == pytest.approx(chance, abs=1e-5)
    assert results.loc[[10, 11], "prediction"].isna().all()


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (table(5).drop(columns=["age", "mass"]), "rows.csv lacks the columns mass, age"),
        (table(5).assign(prediction=1), "rename prediction"),
        (table(0).drop(index=[10, 11], errors="ignore"), "has no rows"),
    ],
    ids=["missing", "taken", "empty"],
)
def test_a_file_that_does_not_fit_is_refused_before_anything_is_sent(
    serve: Callable, example: Path, open_page: Open, rows: pd.DataFrame, expected: str
):
    page = open_page(serve(example))

    upload(page, rows)

    assert expected in page.error[0].value.replace("\\", "")
    assert [button.label for button in page.button] == ["Ask the model"]


def test_a_server_that_is_down_is_reported_with_what_to_do_and_found_again(
    serve: Callable, example: Path, open_page: Open, wire: Callable
):
    cut = wire(serve(example))
    cut.left = 0

    page = open_page(cut.url)

    assert "cannot be reached. Start one (make serve)" in page.error[0].value.replace("\\", "")
    cut.left = None
    press(page, "Try again")
    assert not page.error
    assert number(page, "age").value is None


def test_a_port_without_a_server_is_reported(open_page: Open):
    (port,) = subprocesses.free_ports(1)

    page = open_page(f"http://127.0.0.1:{port}")

    assert "cannot be reached" in page.error[0].value


def test_a_server_lost_half_way_leaves_what_was_scored_and_can_go_on(
    serve: Callable, example: Path, open_page: Open, wire: Callable
):
    cut = wire(serve(example))
    page = open_page(cut.url)
    upload(page, table())
    cut.left = 1  # request of a chunk

    press(page, "Score 2,500 rows")

    kept = page.session_state["run"][1].results()
    assert "cannot be reached" in page.error[0].value
    assert metrics(page)["Rows scored"] == "998"
    assert len(kept) == 1000
    cut.left = None
    press(page, "Go on from row 1,000")
    assert not page.error
    assert metrics(page)["Rows scored"] == "2,498"
    results = page.session_state["run"][1].results()
    assert results["id"].astype(int).tolist() == list(range(2500))
    pd.testing.assert_frame_equal(results.iloc[:1000], kept)


def test_one_file_is_never_scored_by_two_versions(
    serve: Callable, example: Path, classifier: Path, open_page: Open, wire: Callable
):
    cut = wire(serve(example))
    page = open_page(cut.url)
    upload(page, table())
    cut.left = 1
    press(page, "Score 2,500 rows")

    cut.left, cut.target = None, serve(classifier)
    page.run()

    assert "is served now" in page.warning[0].value
    press(page, "Score all 2,500 rows with version 3")
    results = page.session_state["run"][1].results()
    assert "probability_low" in results
    assert set(results["prediction"].dropna()) == {"low"}


def test_the_model_says_where_it_comes_from(serve: Callable, model_dir: Path, open_page: Open):
    contract = Contract.read(model_dir)

    page = open_page(serve(model_dir))

    shown = " ".join(str(table.value.to_dict()) for table in page.table).replace("\\", "")
    assert f"{contract.provenance.rows_train:,} rows of data.csv" in shown
    assert contract.owner in shown
    for name in contract.metrics:
        assert name in shown
