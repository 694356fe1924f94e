"""`make new-data`: propose data.py, model.py and data card for another table, and write them."""

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import shorten
from types import ModuleType
from typing import Any

import pandas as pd
import pandera.pandas as pa

from modelloop.contract.model_card import table as markdown_table
from modelloop.errors import UserError
from modelloop.newdata import first_gate, profile, source_files
from modelloop.newdata.first_gate import FirstGate
from modelloop.newdata.profile import ColumnProfile
from modelloop.project import Project
from modelloop.table import columns, prepare, validate
from modelloop.training import problem

MOST_BYTES = 20_000_000  # of a table that is copied into data/
MOST_LINES = 60  # of a wide table that the terminal shows
SHOWN_VALUES = 5  # of a category
LONGEST_VALUE = 30  # characters of one
HEADERS = ("column", "role", "type", "missing", "different", "values", "to look at")


def run(project: Project, target: str, keep: list[str], *, yes: bool) -> None:
    """Read the table that DATA_URI names, propose, show, and write after a yes.

    Args:
        project: the repository.
        target: the column to predict; empty: one is proposed.
        keep: columns that are features whatever they look like.
        yes: whether to write without a question.

    Raises:
        UserError: there is nothing to propose, or the answer is not yes; nothing is written then.
    """
    env = project.settings
    own = [project.source("data"), project.source("model"), source_files.data_card(project)]
    place = _place_in_data(project, env.data_uri)
    copied: dict[Path, bytes] = {}
    if place and place.resolve() != Path(env.data_uri).resolve():
        copied[place] = Path(env.data_uri).read_bytes()
    removed = [path for path in project.tables if path != place]
    source_files.refuse_uncommitted(project, [*own, *removed, *copied])
    table = project.data.load(env.data_uri, env.data_query)
    profiles = profile.profile_table(table)
    if not target:
        target = _choose_target(profile.possible_targets(profiles, project.problem_type), yes=yes)
    profiles = profile.assign_roles(table, profiles, target, project.problem_type, keep)
    print("\n".join(_terminal_lines(table, profiles)), flush=True)
    sources = _sources(project, table, profiles, place.name if place else env.shown_data_uri)
    files: dict[Path, str | bytes | None] = dict(zip(own, sources, strict=True))
    files |= copied
    files |= dict.fromkeys(removed)
    for path, content in files.items():
        print(f"{'would go' if content is None else 'to write'}  {path.relative_to(project.root)}")
    if not yes:
        _confirm()
    source_files.write(files)
    if not place:
        print("DATA_URI must name the table from now on: it stays where it is.")
    print("Written: git diff shows it. Next: read data.py and model.py, make check test train")


def _place_in_data(project: Project, uri: str) -> Path | None:
    """Where the table will be the default one; None for one that stays where it is."""
    path = Path(uri)
    if "://" in uri or not path.is_file() or path.stat().st_size > MOST_BYTES:
        return None
    return project.root / "data" / path.name


def _sources(
    project: Project, table: pd.DataFrame, profiles: list[ColumnProfile], origin: str
) -> tuple[str, str, str]:
    """The new data.py, model.py and data card; schema and candidates are tried on the rows.

    Raises:
        UserError: no feature is left, or the rows break the proposed schema.
    """
    features = [column for column in profiles if column.role == "feature"]
    (target,) = (column for column in profiles if column.role == "target")
    if not features:
        raise UserError("no column is left to learn from: ARGS='--keep NAME' makes one a feature")
    in_schema = [*features, target]
    repeated = _repeated_rows(table[[column.name for column in in_schema]]) / len(table)
    data_path, model_path = project.source("data"), project.source("model")
    data_source = source_files.with_assignments(
        project,
        data_path,
        {"SCHEMA": _schema_source(in_schema), "DUPLICATES": duplicates_source(repeated)},
    )
    names = {"TARGET": f"TARGET = {target.name!r}"}
    for name, kind in (("CATEGORIES", "category"), ("NUMBERS", "number")):
        names[name] = f"{name}: list[str] = {[c.name for c in features if c.kind == kind]!r}"
    schema = _module(project, data_path, data_source).SCHEMA
    trial_source = source_files.with_assignments(project, model_path, names)
    gate = _first_gate(project, table, schema, _module(project, model_path, trial_source))
    model_source = source_files.with_assignments(project, model_path, names | {"GATE": gate.source})
    return data_source, model_source, _data_card(table, profiles, origin)


def _schema_source(profiles: list[ColumnProfile]) -> str:
    rows = "".join(f"{column.name!r}: {_column_source(column)},\n" for column in profiles)
    return (
        "SCHEMA = pa.DataFrameSchema(\n"
        "    # Proposed from the table: say to people what it is, by description= and metadata=.\n"
        "{\n" + rows + '}, strict="filter", coerce=True,)'
    )


def _column_source(column: ColumnProfile) -> str:
    parts = [repr(column.dtype) if column.dtype == "boolean" else column.dtype]
    if column.kind == "number" and column.low is not None and column.high is not None:
        whole = column.dtype == "int"
        least, most = limits(column.low, column.high, column.distinct, whole=whole)
        parts.append(f"pa.Check.in_range({least!r}, {most!r})")
    elif column.categories and column.dtype == "str":
        parts.append(f"pa.Check.isin({sorted(column.categories)!r})")
    if column.missing:
        parts.append("nullable=True")
    return f"pa.Column({', '.join(parts)})"


def duplicates_source(repeated: float) -> str:
    """The assignment to DUPLICATES: half more than the share that is there, in whole percents."""
    allowed = min(max(math.ceil(150 * repeated), 1), 100) / 100
    return f"DUPLICATES = {allowed:g}  # largest share of rows that may repeat an earlier one"


def limits(low: float, high: float, distinct: int, *, whole: bool) -> tuple[float, float]:
    """The range that a number may have: half as much more on both sides, in round numbers.

    It changes its sign only where the values do; of two whole numbers, such as 0 and 1, there is
    nothing in between or beyond.

    Args:
        low: the smallest value.
        high: the largest value, larger than `low`.
        distinct: how many different values there are.
        whole: whether the type is int.
    """
    if distinct == 2 and low.is_integer() and high.is_integer():
        return int(low), int(high)
    half = (high - low) / 2
    digits = 1 - math.floor(math.log10(high - low))
    step = 10.0**-digits
    least = max(low - half, 0) if low >= 0 else low - half
    most = min(high + half, 0) if high <= 0 else high + half
    least, most = math.floor(least / step) * step, math.ceil(most / step) * step
    if whole:
        least, most = math.floor(least), math.ceil(most)
    return _rounded(least, digits), _rounded(most, digits)


def _rounded(bound: float, digits: int) -> float:
    return int(bound) if float(bound).is_integer() else round(bound, max(digits, 0))


def _first_gate(
    project: Project, table: pd.DataFrame, schema: pa.DataFrameSchema, model: Any
) -> FirstGate:
    """Validate, prepare and split the rows as the pipeline will; try the candidates on them."""
    features = columns.column_rules(schema, model.FEATURES)
    target = columns.target_rule(schema, model.TARGET, project.problem_type)
    by = (model.WEIGHT, model.SPLIT)
    columns.check_names(schema, prepare.needed(features, target, *by))
    prepared = prepare.prepare(validate.validate(table, schema), features, target, *by)
    train, test = prepare.split(prepared, model.TEST_SHARE, model.SPLIT)
    problem.of_target(target).check_sides(
        train[target.name].to_numpy(), test[target.name].to_numpy(), target.name
    )
    gate = first_gate.propose(prepare.Rows(train, test, features, target), model.CANDIDATES)
    scores = "".join(f", {name} {score:.3g}" for name, score in gate.scores.items())
    print(f"{gate.metric}: guessing {gate.baseline:.3g}{scores}", flush=True)
    if gate.failing:
        print(f"not better than guessing: {', '.join(gate.failing)}: mend it in model.py")
    return gate


def _module(project: Project, path: Path, source: str) -> Any:
    """A module of the package as it would be with another source."""
    module = ModuleType(f"{project.package}.{path.stem}")
    module.__package__ = project.package
    exec(compile(source, str(path), "exec"), vars(module))
    return module


def _data_card(table: pd.DataFrame, profiles: list[ColumnProfile], origin: str) -> str:
    """The text of data/README.md."""
    facts = {
        "Source": f"`{origin}`",
        "Rows": f"{len(table):,}",
        "Rows that are there twice": f"{_repeated_rows(table):,}",
        "Columns": f"{len(table.columns):,}",
        "Missing values": f"{table.isna().to_numpy().mean():.1%}",
        "Owner and licence": "not said yet",
    }
    cells = [_cells(column, len(table))[:-1] for column in profiles]
    suspicious = [column for column in profiles if column.notes]
    return (
        "# Data\n\n"
        "What `make new-data` found in the table; complete it, it is yours. "
        "Only features and the target\nare in `SCHEMA` of `data.py`; other columns are dropped.\n\n"
        f"{markdown_table(['', ''], facts.items())}\n\n## Columns\n\n"
        f"{markdown_table(list(HEADERS[:-1]), cells)}\n\n"
        "## To look at\n\n"
        + "".join(f"- `{column.name}`: {'; '.join(column.notes)}\n" for column in suspicious)
        + ("" if suspicious else "Nothing looked suspicious.\n")
    )


def _repeated_rows(table: pd.DataFrame) -> int:
    """How many rows equal an earlier one."""
    return int(pd.util.hash_pandas_object(table, index=False).duplicated().sum())


def _terminal_lines(table: pd.DataFrame, profiles: list[ColumnProfile]) -> Iterator[str]:
    """The proposal as a terminal shows it."""
    rows, width = len(table), len(table.columns)
    yield f"{rows:,} rows, {width} columns, {_repeated_rows(table):,} rows are there twice"
    if rows > (sampled := profile.sample_size(width)):
        yield f"what tells the target, or says the same, is looked for in {sampled:,} of the rows"
    yield ""
    shown = profiles
    if len(profiles) > MOST_LINES:
        noteworthy = (column for column in profiles if column.role != "feature" or column.notes)
        shown = sorted(noteworthy, key=lambda column: column.role != "target")[:MOST_LINES]
    lines = [HEADERS, *(_cells(column, rows) for column in shown)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(HEADERS))]
    for line in lines:
        yield "  ".join(map(str.ljust, line, widths)).rstrip()
    if others := len(profiles) - len(shown):
        yield f"and {others} more features: data/README.md will have them"


def _cells(column: ColumnProfile, rows: int) -> tuple[str, ...]:
    """A column under HEADERS; values that may name a person are not shown."""
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
        f"{column.missing / rows:.1%}",
        f"{column.distinct:,}",
        values,
        "; ".join(column.notes),
    )


def _choose_target(possible: list[str], *, yes: bool) -> str:
    likely = possible[0]
    if yes:
        return likely
    if not sys.stdin.isatty():
        raise UserError(f"which column is the target? TARGET={likely!r} is likely")
    print(f"It can be {profile.shortened(possible, ', ')}")
    return _answer(f"Which column is the target? [{likely}] ") or likely


def _confirm() -> None:
    if not sys.stdin.isatty():
        raise UserError("nothing was written: ARGS=--yes writes it")
    if _answer("Write it? [y/N] ").lower() not in ("y", "yes"):
        raise UserError("nothing was written")


def _answer(question: str) -> str:
    try:
        return input(question).strip()
    except EOFError:
        return ""
