"""Profile the columns of a table: type, range and role, as far as the values show it."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from sklearn.metrics import balanced_accuracy_score, r2_score
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from modelloop.contract.served_model import MISSING
from modelloop.project import ProblemType
from modelloop.table.columns import DataError

Role = Literal["target", "feature", "identifier", "constant", "date", "text", "leak"]
Kind = Literal["number", "category"]

SAMPLE_ROWS = 5_000  # that trees and comparisons see; fewer of a wide table, down to
LEAST_SAMPLE_ROWS = 1_000
SAMPLE_CELLS = 250_000
SAMPLE_ROWS_OF_CLASS = 50  # of a rare class, where it has so many
FEW_CATEGORIES = 100  # up to here they are listed one by one
MOST_CLASSES = 50
LEAST_TARGET_VALUES = 10  # different ones, of a number to predict
FEW_ROWS_OF_CLASS = 40  # about ten of them are left to judge it by
MOSTLY_MISSING = 0.8  # share of the rows
MOST_LISTED = 10  # entries of a list in a message
LEAK_SCORE = 0.98  # from this score on, a column that predicts the target alone is suspicious
SAME_CORRELATION = 0.999  # of two numbers that carry the same information
LONG_TEXT = 60  # characters, on average
FOLDS = 3
SEED = 7

TARGET_NAMES = ("target", "label", "class", "y", "outcome", "churn", "churned", "default", "price")
IDENTIFIER_NAME = re.compile(
    r"(^|[_\s.-])(id|ID|Id)$|^(id|ID|Id)[_\s.-]|[a-z]I[dD]$|uuid|guid|^Unnamed: 0$|^index$"
)
DATE = re.compile(r"\s*\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([T ]\d{1,2}:\d{2}.*)?\s*")
DATE_NOTE = "derive numbers from it in `load`, such as days; SPLIT can be by_time"


@dataclass(frozen=True)
class ColumnProfile:
    """What is known of one column.

    Attributes:
        kind: what a model would take it for.
        dtype: the type in SCHEMA.
        missing: how many rows have no value.
        distinct: how many different values it has, missing ones apart.
        low: the smallest number.
        high: the largest number.
        categories: every category, the most frequent first; none where there are more than
            FEW_CATEGORIES.
        notes: what a person should look at.
    """

    name: str
    role: Role
    kind: Kind
    dtype: Literal["int", "float", "str", "bool", "boolean"]
    missing: int
    distinct: int
    low: float | None = None
    high: float | None = None
    categories: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def profile_table(table: pd.DataFrame) -> list[ColumnProfile]:
    """Profile every column, before there is a target.

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
    return [_profile(name, table[name]) for name in names]


def possible_targets(profiles: list[ColumnProfile], problem_type: ProblemType) -> list[str]:
    """The columns that can be the target, the likely one first: by its name, else the last.

    Raises:
        DataError: no column can.
    """
    possible = [p.name for p in profiles if not _why_no_target(p, problem_type)][::-1]
    if not possible:
        each = (f"{p.name!r}: {_why_no_target(p, problem_type)}" for p in profiles)
        reasons = shortened(each, "\n  ")
        raise DataError(
            f"no column can be the target: {_target_rule(problem_type)}; "
            f"derive one in `load` of data.py\n  {reasons}"
        )
    by_name = {name.lower(): name for name in possible}
    likely = next((by_name[name] for name in TARGET_NAMES if name in by_name), possible[0])
    return [likely, *(name for name in possible if name != likely)]


def assign_roles(
    table: pd.DataFrame,
    profiles: list[ColumnProfile],
    target: str,
    problem_type: ProblemType,
    keep: list[str],
) -> list[ColumnProfile]:
    """Give the target its role, and mark leaks and columns that carry the same information.

    Args:
        table: the rows.
        profiles: what `profile_table` made of it.
        target: the column to predict.
        problem_type: whether that is a category or a number.
        keep: columns that are features whatever they look like.

    Raises:
        DataError: there is no such column, or it cannot be the target or a feature.
    """
    by_name = {profile.name: profile for profile in profiles}
    _check_choice(by_name, target, problem_type, keep)
    truth = table[target].reset_index(drop=True).dropna()
    rows = table.iloc[sample(truth, problem_type, len(profiles)).index].reset_index(drop=True)
    features = [p for p in profiles if p.role == "feature" and p.name != target]
    same_as = dict(_redundant(rows, features))
    assigned = []
    for profile in profiles:
        name = profile.name
        if name == target:
            profile = _as_target(profile, table[target], problem_type)
        elif profile.role == "feature" or name in keep:
            score = score_alone(rows[name], rows[target], profile.kind, problem_type)
            notes = profile.notes
            if score >= LEAK_SCORE:
                notes += (f"tells the target almost alone ({score:.3f} of 1)",)
            if name in same_as:
                notes += (f"says the same as {same_as[name]!r}",)
            leaks = score >= LEAK_SCORE and name not in keep
            profile = replace(profile, role="leak" if leaks else "feature", notes=notes)
        assigned.append(profile)
    return assigned


def sample_size(columns: int) -> int:
    """How many rows a sample of a table has, apart from more of rare classes."""
    return max(LEAST_SAMPLE_ROWS, min(SAMPLE_ROWS, SAMPLE_CELLS // columns))


def sample(target: pd.Series, problem_type: ProblemType, columns: int) -> pd.Series:
    """A random sample of a target, (n,), with enough of every class to learn it.

    Args:
        target: a value in every row.
        problem_type: whether its values are classes.
        columns: how many the table has.
    """
    size = sample_size(columns)
    if len(target) <= size:
        return target
    shuffled = target.sample(frac=1, random_state=SEED)
    chosen = shuffled.iloc[:size]
    if problem_type == "classification":
        of_each_class = shuffled.groupby(shuffled).head(SAMPLE_ROWS_OF_CLASS)
        chosen = target.loc[chosen.index.union(of_each_class.index)]
    return chosen.sort_index()


def shortened(texts: Iterable[str], separator: str) -> str:
    """The first MOST_LISTED texts, joined, and how many more there are."""
    every = [*texts]
    more = [f"and {len(every) - MOST_LISTED} more"] if len(every) > MOST_LISTED else []
    return separator.join([*every[:MOST_LISTED], *more])


def score_alone(
    values: pd.Series, truth: pd.Series, kind: Kind, problem_type: ProblemType
) -> float:
    """How well a tree predicts the target from one column: 0 is guessing, 1 always right.

    Args:
        values: the column, (n,).
        truth: the target, (n,), without missing values.
        kind: of the column.
        problem_type: of the target.
    """
    if kind == "number":
        inputs = _numbers(values).reshape(-1, 1)
    else:
        inputs = pd.factorize(_texts(values))[0].reshape(-1, 1)
    if problem_type == "regression":
        target = _numbers(truth)
        folds = KFold(FOLDS, shuffle=True, random_state=SEED)
        tree = DecisionTreeRegressor(min_samples_leaf=2, random_state=SEED)
        return float(r2_score(target, cross_val_predict(tree, inputs, target, cv=folds)))
    classes = _texts(truth)
    enough = (classes.map(classes.value_counts()) >= FOLDS).to_numpy()
    target = classes[enough].to_numpy()
    if len(np.unique(target)) < 2:
        return 0.0
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)
    tree = DecisionTreeClassifier(class_weight="balanced", random_state=SEED)
    predicted = cross_val_predict(tree, inputs[enough], target, cv=folds)
    return float(balanced_accuracy_score(target, predicted, adjusted=True))


def _faults(name: str, values: pd.Series) -> Iterator[str]:
    inferred = _inferred_type(values)
    if inferred.startswith("mixed") and inferred != "mixed-integer-float":
        yield f"{name!r}: its values are of several types, such as {_examples(values)}"
    elif inferred in ("bytes", "complex", "unknown-array", "interval"):
        yield f"{name!r}: values of type {inferred} are neither text nor numbers"
    elif _is_number(inferred) and np.isinf(_numbers(values)).any():
        yield f"{name!r}: infinite values"
    elif inferred in ("string", "categorical") and (values == MISSING).any():
        yield f"{name!r}: the category {MISSING!r} is reserved for what is missing"


def _profile(name: str, values: pd.Series) -> ColumnProfile:
    inferred, known = _inferred_type(values), values.dropna()
    profile = ColumnProfile(
        name=name,
        role="feature",
        kind="category",
        dtype="str",
        missing=int(values.isna().sum()),
        distinct=int(known.nunique()),
    )
    if _is_number(inferred):
        profile = _profile_numbers(profile, _numbers(known), whole=inferred == "integer")
    elif inferred in (
        "datetime", "datetime64", "date", "time", "timedelta", "timedelta64", "period",
    ):  # fmt: skip
        profile = replace(profile, role="date", notes=(DATE_NOTE,))
    else:
        profile = _profile_texts(profile, _texts(known))
        if inferred == "boolean":
            profile = replace(profile, dtype="boolean" if profile.missing else "bool")
    notes = profile.notes
    if profile.role == "identifier" and profile.distinct <= len(known) / 2:
        notes += ("values come again: do their rows belong together, as SPLIT by_group?",)
    if profile.role == "feature" and (absent := profile.missing / len(values)) > MOSTLY_MISSING:
        notes += (f"missing in {absent:.1%} of the rows",)
    return replace(profile, notes=notes)


def _profile_numbers(profile: ColumnProfile, known: np.ndarray, *, whole: bool) -> ColumnProfile:
    distinct = profile.distinct
    whole = whole and not profile.missing
    role: Role = "feature"
    notes: tuple[str, ...] = ()
    if distinct < 2:
        role = "constant"
    elif _are_row_numbers(known, distinct) or _is_named_identifier(profile):
        role = "identifier"
    elif whole and distinct == len(known):
        notes = ("no value is there twice: is it an identifier?",)
    return replace(
        profile,
        role=role,
        kind="number",
        dtype="int" if whole else "float",
        low=float(known.min()) if distinct else None,
        high=float(known.max()) if distinct else None,
        notes=notes,
    )


def _profile_texts(profile: ColumnProfile, known: pd.Series) -> ColumnProfile:
    distinct = profile.distinct
    some = known.drop_duplicates().head(SAMPLE_ROWS)
    role: Role = "feature"
    notes: tuple[str, ...] = ()
    if distinct + (profile.missing > 0) < 2:
        role = "constant"
    elif some.map(lambda text: bool(DATE.fullmatch(text))).mean() > 0.95:
        role, notes = "date", (DATE_NOTE,)
    elif some.str.len().mean() > LONG_TEXT or (
        _has_many_values(profile)
        and distinct > len(known) / 2
        and some.str.split().str.len().mean() > 3
    ):
        role, notes = "text", ("free text: derive features from it in `load`",)
    elif distinct > max(20, len(known) / 2):
        role, notes = "identifier", ("almost every value is another one",)
    elif _is_named_identifier(profile):
        role = "identifier"
    elif distinct > 2 and pd.to_numeric(some, errors="coerce").notna().mean() > 0.8:
        notes = ("most values are numbers: clean the others in `load`",)
    if role == "feature" and _has_many_values(profile):
        notes += (f"{distinct} categories",)
    categories = () if _has_many_values(profile) else (*known.value_counts().index,)
    return replace(profile, role=role, categories=categories, notes=notes)


def _has_many_values(profile: ColumnProfile) -> bool:
    return profile.distinct > FEW_CATEGORIES


def _is_named_identifier(profile: ColumnProfile) -> bool:
    return bool(IDENTIFIER_NAME.search(profile.name)) and _has_many_values(profile)


def _are_row_numbers(known: np.ndarray, distinct: int) -> bool:
    """Whether these are consecutive whole numbers, each once, in any order."""
    span = known.max() - known.min() + 1
    return distinct == len(known) == span and distinct > 20


def _check_choice(
    by_name: dict[str, ColumnProfile], target: str, problem_type: ProblemType, keep: list[str]
) -> None:
    unknown = [name for name in (target, *keep) if name not in by_name]
    if unknown:
        raise DataError(
            f"the table has no column {unknown[0]!r}, but {shortened(map(repr, by_name), ', ')}"
        )
    if reason := _why_no_target(by_name[target], problem_type):
        raise DataError(
            f"column {target!r} cannot be the target: {reason}; {_target_rule(problem_type)}"
        )
    for role, name in ((by_name[name].role, name) for name in keep):
        if role in ("date", "constant"):
            raise DataError(f"column {name!r} is a {role}: no model can learn from it as it is")


def _why_no_target(profile: ColumnProfile, problem_type: ProblemType) -> str:
    """Why a column cannot be the target; empty when it can."""
    if profile.role != "feature":
        return f"it looks like this: {profile.role}"
    if problem_type == "regression":
        if profile.kind != "number":
            return "it is not a number"
        fits = profile.distinct >= LEAST_TARGET_VALUES
    else:
        fits = 2 <= profile.distinct <= MOST_CLASSES
    return "" if fits else f"it has {profile.distinct} different values"


def _target_rule(problem_type: ProblemType) -> str:
    if problem_type == "regression":
        return f"a regression needs a number with {LEAST_TARGET_VALUES} different values or more"
    return f"a classification needs 2 to {MOST_CLASSES} different values"


def _as_target(
    profile: ColumnProfile, values: pd.Series, problem_type: ProblemType
) -> ColumnProfile:
    notes = profile.notes
    if problem_type == "classification":
        classes = _texts(values).value_counts()
        profile = replace(
            profile,
            kind="category",
            dtype=profile.dtype if profile.dtype in ("bool", "boolean") else "str",
            categories=(*classes.index,),
        )
        notes += tuple(_class_notes(classes))
    if profile.missing:
        notes += (f"{profile.missing} rows without it are not used",)
    return replace(profile, role="target", notes=notes)


def _class_notes(classes: pd.Series) -> Iterator[str]:
    share = classes.iloc[0] / classes.sum()
    yield f"the largest class is {'over 99.9%' if share > 0.999 else f'{share:.1%}'} of the rows"
    few = [f"{name!r} {rows}" for name, rows in classes.items() if rows < FEW_ROWS_OF_CLASS]
    if few:
        yield f"few rows to learn and to judge by: {shortened(few, ', ')}"


def _redundant(rows: pd.DataFrame, profiles: list[ColumnProfile]) -> Iterator[tuple[str, str]]:
    """Columns that carry the information of an earlier one, each with that one."""
    seen: dict[bytes, str] = {}
    for profile in profiles:
        # Values are numbered as they appear, so other words for the same have the same numbers.
        # Where hardly any value comes again, that says nothing.
        codes, different = pd.factorize(rows[profile.name])
        if len(different) > len(rows) / 2:
            continue
        first = seen.setdefault(codes.tobytes(), profile.name)
        if first != profile.name:
            yield profile.name, first
    numbers = [profile.name for profile in profiles if profile.kind == "number"]
    values = pd.DataFrame({name: _numbers(rows[name]) for name in numbers})
    same = np.tril(values.corr().abs().to_numpy(), -1) >= SAME_CORRELATION
    for later, earlier in zip(*np.nonzero(same), strict=True):
        yield numbers[later], numbers[earlier]


def _inferred_type(values: pd.Series) -> str:
    dtype = values.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        values = values.astype(dtype.categories.dtype)
    if isinstance(dtype, pd.DatetimeTZDtype) or pd.api.types.is_datetime64_dtype(dtype):
        return "datetime64"
    inferred: str = pd.api.types.infer_dtype(values, skipna=True)
    is_empty_number = inferred == "empty" and pd.api.types.is_numeric_dtype(dtype)
    return "floating" if is_empty_number else inferred


def _is_number(inferred: str) -> bool:
    return inferred in ("integer", "floating", "decimal", "mixed-integer-float")


def _numbers(values: pd.Series) -> np.ndarray:
    numbers = pd.to_numeric(values, errors="coerce")
    array: np.ndarray = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
    return array


def _texts(values: pd.Series) -> pd.Series:
    """The values as SCHEMA's type str will make them; missing ones stay missing."""
    return values.astype(object).map(str).where(values.notna())


def _examples(values: pd.Series) -> str:
    by_type = {type(value): value for value in values.dropna().head(SAMPLE_ROWS)}
    return ", ".join(f"{value!r}" for value in [*by_type.values()][:3])
