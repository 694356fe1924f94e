"""A fitted pipeline that takes its columns by position, not by name.

scikit-learn selects columns by name only from data frames. A pipeline without names serves without
pandas, and a row of mixed columns takes one to two milliseconds less.
"""

from collections.abc import Iterable
from copy import deepcopy
from types import ModuleType

from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline


def by_position(model: Pipeline, features: ModuleType) -> Pipeline:
    """A copy of a fitted pipeline for arrays whose columns are in the order of the fit.

    Args:
        model: the fitted pipeline.
        features: the team's module of transformers.
    """
    copy = deepcopy(model)
    _forget_names(copy, ("sklearn.", features.__name__))
    return copy


def _forget_names(part: object, known: tuple[str, ...]) -> None:
    """Remove names from every part whose module is known: scikit-learn's, and features.py."""
    parts: Iterable[object]
    if isinstance(part, dict):
        parts = list(part.values())
    elif isinstance(part, list | tuple):
        parts = part
    elif type(part).__module__.startswith(known) and hasattr(part, "__dict__"):
        if isinstance(part, ColumnTransformer) and hasattr(part, "transformers_"):
            part.transformers_ = [
                (name, transformer, _places(part, name, columns))
                for name, transformer, columns in part.transformers_
            ]
        vars(part).pop("feature_names_in_", None)
        vars(part).pop("_sklearn_output_config", None)  # would make data frames between steps
        parts = list(vars(part).values())
    else:
        return
    for inner in parts:
        _forget_names(inner, known)


def _places(transformer: ColumnTransformer, name: str, columns: object) -> int | list[int]:
    places = [int(place) for place in transformer._transformer_to_input_indices[name]]
    # scikit-learn passes a column that is named without a list as a 1-d array.
    return places[0] if isinstance(columns, str | int) else places
