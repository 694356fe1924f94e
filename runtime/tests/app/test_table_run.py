"""A file that is scored in chunks, by the model in this process."""

import io
from pathlib import Path

import pandas as pd
import pytest

from modelloop import Project
from modelloop.app.table_run import CHUNK, TableRun, open_table
from modelloop.batch.scoring import LocalModel
from modelloop.errors import UserError

CSV = "age,mass,colour,note\n036,2.50,red,007\n36,,green,\nold,1,red,x\n"


@pytest.fixture(scope="module")
def model(project: Project, example: Path) -> LocalModel:
    return LocalModel(project, example)


def opened(model: LocalModel, text: str, name: str = "rows.csv") -> TableRun:
    return open_table(name, io.BytesIO(text.encode()), model.contract)


def test_the_cells_of_a_csv_file_come_back_to_the_letter(model: LocalModel):
    run = opened(model, CSV)
    run.step(model)

    lines = run.csv().decode().splitlines()

    assert lines[0] == "age,mass,colour,note,prediction,model_version,refused"
    assert lines[1] == "036,2.50,red,007,10.0,3,"
    assert lines[2] == "36,,green,,10.0,3,"
    assert lines[3].startswith("old,1,red,x,,3,age: 'old' is refused")


def test_a_parquet_file_has_the_features_types(model: LocalModel):
    run = opened(model, CSV.replace("old", "50"))
    run.step(model)

    table = pd.read_parquet(io.BytesIO(run.parquet()))

    assert table["age"].tolist() == [36, 36, 50]
    assert table["mass"].dtype == "float64"
    assert table["note"].tolist() == ["007", "", "x"]
    assert table["prediction"].tolist() == pytest.approx([10, 10, 12.8], rel=1e-5)


def test_a_run_goes_chunk_by_chunk_and_says_how_far_it_is(model: LocalModel):
    run = opened(model, "age,mass,colour\n" + "36,2.5,red\n" * (CHUNK + 1))

    run.step(model)
    half = run.progress, run.finished, len(run.results())
    run.step(model)

    assert half[0].startswith("1,000 of 1,001 rows, ")
    assert half[1:] == (False, CHUNK)
    assert run.progress.endswith("rows a second, 0 s left")
    assert run.finished
    assert len(run.results()) == CHUNK + 1
    assert len(run.results(5)) == 5


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("rows.csv", "", "cannot be read as CSV"),
        ("rows.csv", 'a,b\n"1,2\n', "cannot be read as CSV"),
        ("rows.parquet", CSV, "cannot be read as Parquet"),
        ("rows.csv", "mass,age,colour\n", "has no rows"),
        ("rows.csv", "mass,age\n1,2\n", "lacks the column colour. The model needs mass, age"),
        ("rows.csv", "mass,age,colour,refused\n1,2,red,\n", "rename refused"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    model: LocalModel, name: str, text: str, expected: str
):
    with pytest.raises(UserError, match=expected):
        opened(model, text, name)
