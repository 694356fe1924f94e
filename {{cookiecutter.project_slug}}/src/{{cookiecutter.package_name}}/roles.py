"""What each column of a table looks like: something to learn from, or why not."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from sklearn.metrics import balanced_accuracy_score, r2_score
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from .columns import DataError
from .served_model import MISSING

Role = Literal["target", "feature", "identifier", "constant", "date", "text", "leak"]
Problem = Literal["classification", "regression"]

SAMPLE = 5_000  # rows that the searches and trials look at: fewer of a wide table, down to
LEAST_SAMPLE = 1_000
SAMPLE_CELLS = 250_000
OF_EACH_CLASS = 50  # rows that a sample has of a rare class, where there are so many
FEW = 100  # categories that are listed one by one
MOST_CLASSES = 50
LEAST_VALUES = 10  # that differ, of a number to predict
FEW_OF_CLASS = 40  # rows: about ten to judge it by
MOSTLY_MISSING = 0.8  # share of the rows
NAMED = 10  # columns that a message lists
LEAK = 0.98  # from this share of the way from guessing to knowing, a column alone is suspicious
ALIKE = 0.999  # correlation of two numbers that say the same
LONG = 60  # characters, on average, of a text
FOLDS = 3
SEED = 7

TARGET_NAMES = ("target", "label", "class", "y", "outcome", "churn", "churned", "default", "price")
ID_NAME = re.compile(
    r"(^|[_\s.-])(id|ID|Id)$|^(id|ID|Id)[_\s.-]|[a-z]I[dD]$|uuid|guid|^Unnamed: 0$|^index$"
)
DATE = re.compile(r"\s*\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([T ]\d{1,2}:\d{2}.*)?\s*")


OF_DATE = "derive numbers from it in `load`, such as days; SPLIT can be by_time"


@dataclass(frozen=True)
class Found:
    """What was found of one column.

    Attributes:
        kind: what a model would take it for.
        dtype: the type in SCHEMA.
        distinct: how many different values it has, missing ones apart.
        low: the smallest number.
        high: the largest number.
        categories: every category, the most frequent first; none where there are more than FEW.
        notes: what a person should know of it.
    """

    name: str
    role: Role
    kind: Literal["number", "category"]
    dtype: Literal["int", "float", "str", "bool", "boolean"]
    missing: int
    distinct: int
    low: float | None = None
    high: float | None = None
    categories: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def look(table: pd.DataFrame) -> list[Found]:
    """Find out what each column is, before there is a target.

    Raises:
        DataError: columns that `load` must clean first, each with what is wrong.
    """
    names = [*table.columns]
    faults = [f"{name!r}: a column's name must be text" for name in names if type(name) is not str]
    faults += [f"{name!r}: two columns have this name" for name in names if names.count(name) > 1]
    if not faults and len(names) == 1 and (marks := re.findall(r"[;\t|]", names[0])):
        faults = [
            f"{names[0]!r} is its only column; separated by {marks[0]!r} there are more: "
            f"pd.read_csv(uri, sep={marks[0]!r})"
        ]
    if not faults:
        faults = [fault for name in names for fault in _faults(name, table[name])]
    if faults:
        lines = "\n".join(f"  {fault}" for fault in dict.fromkeys(faults))
        raise DataError(f"the table needs cleaning, in `load` of data.py:\n{lines}")
    return [_look(name, table[name]) for name in names]


def propose(found: list[Found], problem: Problem) -> list[str]:
    """The columns that can be the target, the likely one first: by its name, else the last.

    Raises:
        DataError: no column can.
    """
    fitting = [column.name for column in found if not _misfit(column, problem)][::-1]
    if not fitting:
        why = listed([f"{column.name!r}: {_misfit(column, problem)}" for column in found], "\n  ")
        raise DataError(
            f"no column can be the target: {_allowed(problem)}; derive one in `load` of data.py\n"
            f"  {why}"
        )
    by_name = {name.lower(): name for name in fitting}
    likely = next((by_name[name] for name in TARGET_NAMES if name in by_name), fitting[0])
    return [likely, *(name for name in fitting if name != likely)]


def judge(
    table: pd.DataFrame, found: list[Found], target: str, problem: Problem, keep: list[str]
) -> list[Found]:
    """Give the target its role and look for columns that tell it, or that tell the same.

    Args:
        table: the rows.
        found: what `look` said of its columns.
        target: the column to predict.
        problem: whether that is a category or a number.
        keep: columns that are features whatever they look like.

    Raises:
        DataError: there is no such column, or it cannot be the target or a feature.
    """
    by_name = {column.name: column for column in found}
    unknown = [name for name in (target, *keep) if name not in by_name]
    if unknown:
        raise DataError(
            f"the table has no column {unknown[0]!r}, but {listed(map(repr, by_name), ', ')}"
        )
    if misfit := _misfit(by_name[target], problem):
        raise DataError(f"column {target!r} cannot be the target: {misfit}; {_allowed(problem)}")
    for role, name in ((by_name[name].role, name) for name in keep):
        if role in ("date", "constant"):
            raise DataError(f"column {name!r} is a {role}: no model can learn from it as it is")
    truth = table[target].reset_index(drop=True).dropna()
    rows = table.iloc[sample(truth, problem, len(found)).index].reset_index(drop=True)
    twins = dict(_twins(rows, [c for c in found if c.role == "feature" and c.name != target]))
    judged = []
    for column in found:
        notes = column.notes
        if column.name == target:
            column = replace(column, role="target")
            if problem == "classification":
                classes = texts(table[target]).value_counts()
                dtype = column.dtype if column.dtype in ("bool", "boolean") else "str"
                column = replace(column, kind="category", dtype=dtype, categories=(*classes.index,))
                notes += tuple(_of_classes(classes))
            if column.missing:
                notes += (f"{column.missing} rows without it are not used",)
        elif column.role == "feature" or column.name in keep:
            score = tells_target(rows[column.name], rows[target], column.kind, problem)
            leaks = score >= LEAK and column.name not in keep
            column = replace(column, role="leak" if leaks else "feature")
            if score >= LEAK:
                notes += (f"tells the target almost alone ({score:.3f} of 1)",)
            if column.name in twins:
                notes += (f"says the same as {twins[column.name]!r}",)
        judged.append(replace(column, notes=notes))
    return judged


def sampled_rows(width: int) -> int:
    """How many rows a sample of so many columns has, apart from more of rare classes."""
    return max(LEAST_SAMPLE, min(SAMPLE, SAMPLE_CELLS // width))


def sample(target: pd.Series, problem: Problem, width: int) -> pd.Series:
    """Some rows of a target, by chance, with enough of every class to learn it.

    Args:
        target: a value in every row.
        problem: whether its values are classes.
        width: how many columns will be looked at.
    """
    most = sampled_rows(width)
    if len(target) <= most:
        return target
    shuffled = target.sample(frac=1, random_state=SEED)
    some = shuffled.iloc[:most]
    if problem == "classification":
        enough = shuffled.groupby(shuffled).head(OF_EACH_CLASS)
        some = target.loc[some.index.union(enough.index)]
    return some.sort_index()


def listed(texts: Iterable[str], separator: str) -> str:
    """The first of many texts, and how many more there are."""
    every = [*texts]
    more = [f"and {len(every) - NAMED} more"] if len(every) > NAMED else []
    return separator.join([*every[:NAMED], *more])


def texts(values: pd.Series) -> pd.Series:
    """The values as SCHEMA's type str will make them; missing ones stay missing."""
    return values.astype(object).map(str).where(values.notna())


def tells_target(
    values: pd.Series, truth: pd.Series, kind: Literal["number", "category"], problem: Problem
) -> float:
    """How well one column alone predicts the target, by a tree: 0 is guessing, 1 always right.

    Args:
        values: the column, (n,).
        truth: the target, (n,), without missing values.
        kind: what the column is.
        problem: what the target is.
    """
    if kind == "number":
        inputs = _numbers(values).reshape(-1, 1)
    else:
        inputs = pd.factorize(texts(values))[0].reshape(-1, 1)
    if problem == "regression":
        target = _numbers(truth)
        folds = KFold(FOLDS, shuffle=True, random_state=SEED)
        tree = DecisionTreeRegressor(min_samples_leaf=2, random_state=SEED)
        return float(r2_score(target, cross_val_predict(tree, inputs, target, cv=folds)))
    classes = texts(truth)
    enough = (classes.map(classes.value_counts()) >= FOLDS).to_numpy()
    target = classes[enough].to_numpy()
    if len(np.unique(target)) < 2:
        return 0.0
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)
    tree = DecisionTreeClassifier(class_weight="balanced", random_state=SEED)
    guessed = cross_val_predict(tree, inputs[enough], target, cv=folds)
    return float(balanced_accuracy_score(target, guessed, adjusted=True))


def _faults(name: str, values: pd.Series) -> Iterator[str]:
    kind = _inferred(values)
    if kind.startswith("mixed") and kind != "mixed-integer-float":
        yield f"{name!r}: its values are of several types, such as {_examples(values)}"
    elif kind in ("bytes", "complex", "unknown-array", "interval"):
        yield f"{name!r}: values of type {kind} are neither text nor numbers"
    elif _is_number(kind) and np.isinf(_numbers(values)).any():
        yield f"{name!r}: infinite values"
    elif kind in ("string", "categorical") and (values == MISSING).any():
        yield f"{name!r}: the category {MISSING!r} is reserved for what is missing"


def _look(name: str, values: pd.Series) -> Found:
    kind, known = _inferred(values), values.dropna()
    missing, distinct = int(values.isna().sum()), int(known.nunique())
    common = {"name": name, "missing": missing, "distinct": distinct}
    absent = missing / len(values)
    named = bool(ID_NAME.search(name))
    if _is_number(kind):
        numbers = _numbers(known)
        whole = kind == "integer" and not missing
        low, high = (float(numbers.min()), float(numbers.max())) if distinct else (None, None)
        role, notes = "feature", ()
        if distinct < 2:
            role = "constant"
        elif _counts_rows(numbers, distinct) or (named and distinct > FEW):
            role = "identifier"
        elif whole and distinct == len(numbers):
            notes = ("no value is there twice: is it an identifier?",)
        found = Found(
            role=role, kind="number", dtype="int" if whole else "float", low=low, high=high,
            notes=notes, **common,
        )  # fmt: skip
    elif kind in ("datetime", "datetime64", "date", "time", "timedelta", "timedelta64", "period"):
        found = Found(role="date", kind="category", dtype="str", notes=(OF_DATE,), **common)
    else:
        found = _look_at_text(texts(values).dropna(), common, named=named)
        if kind == "boolean":
            found = replace(found, dtype="boolean" if missing else "bool")
    notes = found.notes
    if found.role == "identifier" and distinct <= len(known) / 2:
        notes += ("values come again: do their rows belong together, as SPLIT by_group?",)
    if found.role == "feature" and absent > MOSTLY_MISSING:
        notes += (f"missing in {absent:.1%} of the rows",)
    return replace(found, notes=notes)


def _look_at_text(known: pd.Series, common: dict, *, named: bool) -> Found:
    distinct, notes, role = common["distinct"], (), "feature"
    some = known.drop_duplicates().head(SAMPLE)
    if distinct + (common["missing"] > 0) < 2:
        role = "constant"
    elif some.map(lambda text: bool(DATE.fullmatch(text))).mean() > 0.95:
        role, notes = "date", (OF_DATE,)
    elif some.str.len().mean() > LONG or (
        distinct > FEW and distinct > len(known) / 2 and some.str.split().str.len().mean() > 3
    ):
        role, notes = "text", ("free text: derive features from it in `load`",)
    elif distinct > max(20, len(known) / 2):
        role, notes = "identifier", ("almost every value is another one",)
    elif named and distinct > FEW:
        role = "identifier"
    elif distinct > 2 and pd.to_numeric(some, errors="coerce").notna().mean() > 0.8:
        notes = ("most values are numbers: clean the others in `load`",)
    if role == "feature" and distinct > FEW:
        notes += (f"{distinct} categories",)
    categories = (*known.value_counts().index,) if distinct <= FEW else ()
    return Found(
        role=role, kind="category", dtype="str", categories=categories, notes=notes, **common
    )


def _counts_rows(numbers: np.ndarray, distinct: int) -> bool:
    """Whether whole numbers count the rows, in any order."""
    span = numbers.max() - numbers.min() + 1
    return distinct == len(numbers) == span and distinct > 20


def _misfit(column: Found, problem: Problem) -> str:
    """Why a column cannot be the target; empty when it can."""
    if column.role != "feature":
        return f"it looks like this: {column.role}"
    if problem == "regression" and column.kind != "number":
        return "it is not a number"
    least, most = (LEAST_VALUES, np.inf) if problem == "regression" else (2, MOST_CLASSES)
    fits = least <= column.distinct <= most
    return "" if fits else f"it has {column.distinct} different values"


def _allowed(problem: Problem) -> str:
    if problem == "regression":
        return f"a regression needs a number with {LEAST_VALUES} different values or more"
    return f"a classification needs 2 to {MOST_CLASSES} different values"


def _of_classes(classes: pd.Series) -> Iterator[str]:
    share = classes.iloc[0] / classes.sum()
    yield f"the largest class is {'over 99.9%' if share > 0.999 else f'{share:.1%}'} of the rows"
    few = [f"{name!r} {rows}" for name, rows in classes.items() if rows < FEW_OF_CLASS]
    if few:
        yield f"few rows to learn and to judge by: {listed(few, ', ')}"


def _twins(sample: pd.DataFrame, columns: list[Found]) -> Iterator[tuple[str, str]]:
    """Columns that say what an earlier one says, each with that one."""
    seen: dict[bytes, str] = {}
    for column in columns:
        # Values are numbered as they appear, so other words for the same have the same numbers.
        # Where hardly any value comes again, that says nothing.
        codes, different = pd.factorize(sample[column.name])
        if len(different) > len(sample) / 2:
            continue
        first = seen.setdefault(codes.tobytes(), column.name)
        if first != column.name:
            yield column.name, first
    numbers = [column.name for column in columns if column.kind == "number"]
    values = pd.DataFrame({name: _numbers(sample[name]) for name in numbers})
    alike = np.tril(values.corr().abs().to_numpy(), -1) >= ALIKE
    for later, earlier in zip(*np.nonzero(alike), strict=True):
        yield numbers[later], numbers[earlier]


def _inferred(values: pd.Series) -> str:
    dtype = values.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        values = values.astype(dtype.categories.dtype)
    if isinstance(dtype, pd.DatetimeTZDtype) or pd.api.types.is_datetime64_dtype(dtype):
        return "datetime64"
    found = pd.api.types.infer_dtype(values, skipna=True)
    return "floating" if found == "empty" and pd.api.types.is_numeric_dtype(dtype) else found


def _is_number(kind: str) -> bool:
    return kind in ("integer", "floating", "decimal", "mixed-integer-float")


def _numbers(values: pd.Series) -> np.ndarray:
    numbers = pd.to_numeric(values, errors="coerce")
    return numbers.to_numpy(dtype=np.float64, na_value=np.nan)


def _examples(values: pd.Series) -> str:
    by_type = {type(value): value for value in values.dropna().head(SAMPLE)}
    return ", ".join(f"{value!r}" for value in [*by_type.values()][:3])
