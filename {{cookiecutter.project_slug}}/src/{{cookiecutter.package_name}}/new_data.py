"""`make new-data`: propose what the team's files say of another table, show it, write it."""

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import shorten
from types import ModuleType

import pandas as pd

from . import columns, data, first_gate, own_files, project, roles
from .errors import UserError
from .first_gate import FirstGate
from .model_card import table as markdown_table
from .roles import Found
from .settings import ROOT, Settings, tables_in_data
from .training import prepare, problem, validate

MOST_BYTES = 20_000_000  # of a table that is copied into data/
MOST_LINES = 60  # of a wide table that the terminal shows
SHOWN_VALUES = 5  # of a category
LONGEST_VALUE = 30  # characters of one
HEAD = ("column", "role", "type", "missing", "different", "values", "to look at")


def run(env: Settings, target: str, keep: list[str], *, yes: bool) -> None:
    """Read the table that DATA_URI names, propose, show, and write after a yes.

    Args:
        env: names the table.
        target: the column to predict; empty: one is proposed.
        keep: columns that are features whatever they look like.
        yes: whether to write without asking.

    Raises:
        UserError: there is nothing to propose, or nobody said yes; then nothing was written.
    """
    own = [own_files.DATA, own_files.MODEL, own_files.CARD]
    table = _place(env.data_uri)
    copy = {table: Path(env.data_uri).read_bytes()} if _is_elsewhere(table, env.data_uri) else {}
    others = [path for path in tables_in_data() if path != table]
    own_files.refuse_uncommitted([*own, *others, *copy])
    raw = data.load(env.data_uri, env.data_query)
    found = roles.look(raw)
    target = target or _ask_target(roles.propose(found, project.PROBLEM_TYPE), yes=yes)
    judged = roles.judge(raw, found, target, project.PROBLEM_TYPE, keep)
    print("\n".join(_lines(raw, judged)), flush=True)
    source = table.name if table else env.shown_data_uri
    files = dict(zip(own, _texts(raw, judged, source), strict=True))
    files |= copy | dict.fromkeys(others)
    for path, content in files.items():
        print(f"{'would go' if content is None else 'to write'}  {path.relative_to(ROOT)}")
    if not yes:
        _ask_yes()
    own_files.write(files)
    if not table:
        print("DATA_URI must name the table from now on: it stays where it is.")
    print("Written: git diff shows it. Next: read data.py and model.py, make check test train")


def _place(uri: str) -> Path | None:
    """Where the table is the default one, in data/; None for one that stays where it is."""
    path = Path(uri)
    if "://" in uri or not path.is_file() or path.stat().st_size > MOST_BYTES:
        return None
    return own_files.CARD.parent / path.name


def _is_elsewhere(place: Path | None, uri: str) -> bool:
    return place is not None and place.resolve() != Path(uri).resolve()


def _texts(raw: pd.DataFrame, judged: list[Found], source: str) -> tuple[str, str, str]:
    """The new data.py, model.py and data card, tried out before anybody is asked.

    Raises:
        UserError: nothing is left to learn from, or the rows break the proposed schema.
    """
    features = [column for column in judged if column.role == "feature"]
    (target,) = (column for column in judged if column.role == "target")
    if not features:
        raise UserError("no column is left to learn from: ARGS='--keep NAME' makes one a feature")
    learnt = [*features, target]
    again = _twice(raw[[column.name for column in learnt]]) / len(raw)
    data_text = own_files.assigned(
        own_files.DATA, {"SCHEMA": _schema(learnt), "DUPLICATES": duplicates(again)}
    )
    lists = {"TARGET": f"TARGET = {target.name!r}"}
    for name, kind in (("CATEGORIES", "category"), ("NUMBERS", "number")):
        lists[name] = f"{name}: list[str] = {[c.name for c in features if c.kind == kind]!r}"
    model = _module(own_files.MODEL, own_files.assigned(own_files.MODEL, lists))
    gate = _first_gate(raw, _module(own_files.DATA, data_text).SCHEMA, model)
    model_text = own_files.assigned(own_files.MODEL, lists | {"GATE": gate.source})
    return data_text, model_text, _card(raw, judged, source)


def _schema(judged: list[Found]) -> str:
    rows = "".join(f"{column.name!r}: {_column(column)},\n" for column in judged)
    return (
        "SCHEMA = pa.DataFrameSchema(\n"
        "    # Proposed from the table: say to people what it is, by description= and metadata=.\n"
        "{\n" + rows + '}, strict="filter", coerce=True,)'
    )


def _column(column: Found) -> str:
    parts = [repr(column.dtype) if column.dtype == "boolean" else column.dtype]
    if column.kind == "number":
        low, high = limits(column)
        parts.append(f"pa.Check.in_range({low!r}, {high!r})")
    elif column.categories and column.dtype == "str":
        parts.append(f"pa.Check.isin({sorted(column.categories)!r})")
    if column.missing:
        parts.append("nullable=True")
    return f"pa.Column({', '.join(parts)})"


def duplicates(found: float) -> str:
    """What share of the rows may repeat another: half more than do, in whole percents."""
    allowed = min(max(math.ceil(150 * found), 1), 100) / 100
    return f"DUPLICATES = {allowed:g}  # largest share of rows that may repeat an earlier one"


def limits(column: Found) -> tuple[float, float]:
    """What a number may be: half of its range more on both sides, in round numbers.

    It changes its sign only where the values do; of two whole numbers, such as 0 and 1, there is
    nothing in between or beyond.
    """
    low, high = column.low, column.high
    if column.distinct == 2 and float(low).is_integer() and float(high).is_integer():
        return int(low), int(high)
    half = (high - low) / 2
    digits = 1 - math.floor(math.log10(high - low))
    step = 10.0**-digits
    least = max(low - half, 0) if low >= 0 else low - half
    most = min(high + half, 0) if high <= 0 else high + half
    bounds = (math.floor(least / step) * step, math.ceil(most / step) * step)
    if column.dtype == "int":
        bounds = (math.floor(bounds[0]), math.ceil(bounds[1]))
    return tuple(int(b) if float(b).is_integer() else round(b, max(digits, 0)) for b in bounds)


def _first_gate(raw: pd.DataFrame, schema: object, model: ModuleType) -> FirstGate:
    """Validate, prepare and split the rows as the pipeline will; try the candidates on them."""
    features = columns.column_rules(schema, model.FEATURES)
    target = columns.target_rule(schema, model.TARGET)
    by = (model.WEIGHT, model.SPLIT)
    columns.check_names(schema, prepare.needed(features, target, *by))
    prepared = prepare.prepare(validate.validate(raw, schema), features, target, *by)
    train_rows, test_rows = prepare.split(prepared, model.TEST_SHARE, model.SPLIT)
    truths = (rows[target.name].to_numpy() for rows in (train_rows, test_rows))
    problem.check_sides(*truths, target.name)
    rows = prepare.Rows(train_rows, test_rows, features, target)
    gate = first_gate.propose(rows, model.CANDIDATES)
    scores = "".join(f", {name} {score:.3g}" for name, score in gate.scores.items())
    print(f"{gate.metric}: guessing {gate.guess:.3g}{scores}", flush=True)
    if gate.failing:
        print(f"not better than guessing: {', '.join(gate.failing)}: mend it in model.py")
    return gate


def _module(path: Path, source: str) -> ModuleType:
    """A module of the package as it would be."""
    module = ModuleType(f"{__package__}.{path.stem}")
    module.__package__ = __package__
    exec(compile(source, str(path), "exec"), vars(module))
    return module


def _card(raw: pd.DataFrame, judged: list[Found], source: str) -> str:
    """The data card, for data/README.md."""
    facts = {
        "Source": f"`{source}`",
        "Rows": f"{len(raw):,}",
        "Rows that are there twice": f"{_twice(raw):,}",
        "Columns": f"{len(raw.columns):,}",
        "Missing values": f"{raw.isna().to_numpy().mean():.1%}",
        "Owner and licence": "not said yet",
    }
    suspicious = [column for column in judged if column.notes]
    return (
        "# Data\n\n"
        "What `make new-data` found in the table; complete it, it is yours. "
        "Only features and the target\nare in `SCHEMA` of `data.py`; other columns are dropped.\n\n"
        f"{markdown_table(['', ''], facts.items())}\n\n## Columns\n\n"
        f"{markdown_table(list(HEAD[:-1]), [_row(raw, c)[:-1] for c in judged])}\n\n"
        "## To look at\n\n"
        + "".join(f"- `{column.name}`: {'; '.join(column.notes)}\n" for column in suspicious)
        + ("" if suspicious else "Nothing looked suspicious.\n")
    )


def _twice(raw: pd.DataFrame) -> int:
    """How many rows equal an earlier one."""
    return int(pd.util.hash_pandas_object(raw, index=False).duplicated().sum())


def _lines(raw: pd.DataFrame, judged: list[Found]) -> Iterator[str]:
    """The proposal as a terminal shows it."""
    yield f"{len(raw):,} rows, {len(raw.columns)} columns, {_twice(raw):,} rows are there twice"
    if len(raw) > (some := roles.sampled_rows(len(raw.columns))):
        yield f"what tells the target, or says the same, is looked for in {some:,} of the rows"
    yield ""
    shown = judged
    if len(judged) > MOST_LINES:
        telling = (column for column in judged if column.role != "feature" or column.notes)
        shown = sorted(telling, key=lambda column: column.role != "target")[:MOST_LINES]
    rows = [HEAD, *(_row(raw, column) for column in shown)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(HEAD))]
    for row in rows:
        yield "  ".join(map(str.ljust, row, widths)).rstrip()
    if others := len(judged) - len(shown):
        yield f"and {others} more features: data/README.md will have them"


def _row(raw: pd.DataFrame, column: Found) -> tuple[str, ...]:
    """A column as people see it; values that may name a person are not shown."""
    values = ""
    if column.kind == "number" and column.low is not None:
        values = f"{column.low:g} to {column.high:g}"
    elif column.categories and column.role in ("feature", "target", "leak", "constant"):
        more = len(column.categories) - SHOWN_VALUES
        values = ", ".join(shorten(c, LONGEST_VALUE) for c in column.categories[:SHOWN_VALUES])
        values += f" and {more} more" if more > 0 else ""
    return (
        column.name,
        column.role,
        column.dtype,
        f"{column.missing / len(raw):.1%}",
        f"{column.distinct:,}",
        values,
        "; ".join(column.notes),
    )


def _ask_target(fitting: list[str], *, yes: bool) -> str:
    likely = fitting[0]
    if yes:
        return likely
    if not sys.stdin.isatty():
        raise UserError(f"which column is the target? TARGET={likely!r} is likely")
    print(f"It can be {roles.listed(fitting, ', ')}")
    return _answer(f"Which column is the target? [{likely}] ") or likely


def _ask_yes() -> None:
    if not sys.stdin.isatty():
        raise UserError("nothing was written: ARGS=--yes writes it")
    if _answer("Write it? [y/N] ").lower() not in ("y", "yes"):
        raise UserError("nothing was written")


def _answer(question: str) -> str:
    try:
        return input(question).strip()
    except EOFError:
        return ""
