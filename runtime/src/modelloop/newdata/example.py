"""`make eject-example`: remove the example, and say what comes next."""

from modelloop.errors import UserError
from modelloop.newdata import source_files
from modelloop.project import Project

FIRST_LINE = "# Example data"  # of the example's data card
ONLY_PERFECTION = {
    "classification": 'GATE = Gate(metric="accuracy", floor=1.0, margin=0.02)',
    "regression": 'GATE = Gate(metric="rmse", floor=0.0, margin=0.0)',
}
NEXT = """\
# Data

There is no table yet: the example is gone. Step by step:

1. Commit this. `make new-data DATA_URI=table.csv` then reads your table (a CSV or Parquet file, an
   address, or a database with `DATA_QUERY`), asks for the target, shows what it proposes, and after
   a yes writes `data.py`, `model.py` and, in place of this page, the data card. By hand: put the
   table here, name its columns in `SCHEMA` of `data.py`, target and features in `model.py`.
2. Read `data.py`: say what each column means and its unit; widen or narrow the limits.
3. Read `model.py`: the candidates, and the floors that the gate demands.
4. `make check test train` checks, tests, trains and judges.
5. `make promote serve`, and in another terminal `make predict`, `make app`: use it.
6. Extend `tests/data/` and `tests/model/` by what must hold of your rows and of your model.
7. Answer the questions in `docs/model-card.md`, and commit.
"""


def eject(project: Project) -> None:
    """Remove the example's table, schema and model.

    Raises:
        UserError: the example is not there any more, or has changes that are not committed.
    """
    card, data, model = (
        source_files.data_card(project),
        project.source("data"),
        project.source("model"),
    )
    if not _is_of_example(card.read_text(encoding="utf-8") if card.exists() else ""):
        raise UserError("the example is gone already: data.py and data/ are not the example's")
    empty_schema = {"SCHEMA": 'SCHEMA = pa.DataFrameSchema({}, strict="filter", coerce=True)'}
    empty_model = {
        "TARGET": 'TARGET = ""  # none yet: data/README.md says what comes next',
        "CATEGORIES": "CATEGORIES: list[str] = []",
        "NUMBERS": "NUMBERS: list[str] = []",
        "GATE": f"{ONLY_PERFECTION[project.problem_type]}  # perfection only: say what is enough",
    }
    files = {
        data: source_files.with_assignments(project, data, empty_schema),
        model: source_files.with_assignments(project, model, empty_model),
        card: NEXT,
        **dict.fromkeys(project.tables),
    }
    source_files.refuse_uncommitted(project, files)
    source_files.write(files)
    print("The example is gone. data/README.md says what comes next:\n")
    print(NEXT.partition("\n\n")[2])


def _is_of_example(card: str) -> bool:
    return card.partition("\n")[0].rstrip() == FIRST_LINE
