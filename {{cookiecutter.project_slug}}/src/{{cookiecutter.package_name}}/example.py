"""`make eject-example`: take the example away, and say what comes next."""

from . import data, own_files
from .errors import UserError
from .project import PROBLEM_TYPE

TABLE = own_files.CARD.parent / "penguins.csv"
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


def eject() -> None:
    """Remove the example's table, schema and model.

    Raises:
        UserError: the example is not there any more, or has changes that are not committed.
    """
    if not TABLE.exists() or "flipper_length_mm" not in data.SCHEMA.columns:
        raise UserError("the example is gone already: data.py and data/ are not the example's")
    files = {
        own_files.DATA: own_files.assigned(
            own_files.DATA,
            {"SCHEMA": 'SCHEMA = pa.DataFrameSchema({}, strict="filter", coerce=True)'},
        ),
        own_files.MODEL: own_files.assigned(
            own_files.MODEL,
            {
                "TARGET": 'TARGET = ""  # none yet: data/README.md says what comes next',
                "CATEGORIES": "CATEGORIES: list[str] = []",
                "NUMBERS": "NUMBERS: list[str] = []",
                "GATE": ONLY_PERFECTION[PROBLEM_TYPE] + "  # perfection only: say what is enough",
            },
        ),
        own_files.CARD: NEXT,
        TABLE: None,
    }
    own_files.refuse_uncommitted(files)
    own_files.write(files)
    print("The example is gone. data/README.md says what comes next:\n")
    print(NEXT.partition("\n\n")[2])
