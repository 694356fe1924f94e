"""What training saw, as the contract keeps it: column profiles, references, outlier detector."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from ..columns import ColumnRule
from ..contract import Column, OutlierDetector, Reference
from ..served_model import MISSING

BINS = 10  # quantile bins: the usual choice for a population stability index
# Each bin of each feature is two series for Prometheus; the categories beyond are `other` together.
MOST_CATEGORIES = 30
OUTLIER_SHARE = 0.01  # of the training rows
MOST_NUMBERS = 50  # that the detector looks at: its matrix grows with their square


def profile(rule: ColumnRule, values: pd.Series, role: str = "feature") -> Column:
    """Describe one prepared column: the schema's rule and the training rows' distribution."""
    common = {
        "name": rule.name,
        "role": role,
        "kind": rule.kind,
        "dtype": rule.dtype,
        "description": rule.description,
        "unit": rule.unit,
        "nullable": rule.nullable,
        "minimum": rule.minimum,
        "maximum": rule.maximum,
    }
    if rule.kind == "category":
        seen = sorted(set(values) - {MISSING})
        return Column(
            **common,
            categories=rule.categories,
            missing=float((values == MISSING).mean()),
            reference=category_reference(values, rule.categories or seen),
        )
    known = values.dropna()
    return Column(
        **common,
        observed=(shortest(known.min()), shortest(known.max())) if len(known) else None,
        median=shortest(known.median()) if len(known) else None,
        missing=float(values.isna().mean()),
        reference=number_reference(values),
    )


def number_reference(values: pd.Series) -> Reference:
    """Quantile bins with their shares; fewer than 10 where values repeat."""
    known = values.dropna().to_numpy(dtype=np.float64)
    quantiles = np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1]) if len(known) else []
    edges = np.unique(quantiles)
    counts = np.bincount(np.searchsorted(edges, known, side="right"), minlength=len(edges) + 1)
    return Reference(edges=edges.tolist(), shares=_shares(counts, 0, values.isna().sum()))


def category_reference(values: pd.Series, categories: list[str]) -> Reference:
    """One bin per category; of many, the most frequent ones have one."""
    counts = values.value_counts()
    kept = [c for c in categories if c != MISSING]
    if len(kept) > MOST_CATEGORIES:
        kept = sorted(kept, key=lambda c: -counts.get(c, 0))[:MOST_CATEGORIES]
    inner = np.array([counts.get(c, 0) for c in kept], dtype=np.float64)
    missing = counts.get(MISSING, 0)
    other = len(values) - inner.sum() - missing
    return Reference(categories=kept, shares=_shares(inner, other, missing))


def prediction_reference(outputs: np.ndarray, classes: list[str]) -> Reference:
    """The distribution of a model's outputs, (n, k): of the predicted class, or of the value."""
    if classes:
        labels = pd.Series([classes[i] for i in outputs.argmax(axis=1)])
        return category_reference(labels, classes)
    return number_reference(pd.Series(outputs[:, 0]))


def outlier_detector(table: pd.DataFrame, numbers: list[str]) -> OutlierDetector | None:
    """Fit the Mahalanobis detector on the first numeric inputs; None without numbers.

    The pseudo-inverse copes with numbers that are constant or sums of others. The threshold is a
    quantile of the training rows' own distances: real inputs are not normal, as the chi-squared
    distribution would have them.
    """
    if not numbers:
        return None
    numbers = numbers[:MOST_NUMBERS]
    values = table[numbers].to_numpy(dtype=np.float64)
    counts = np.maximum((~np.isnan(values)).sum(axis=0), 1)
    mean = np.nansum(values, axis=0) / counts
    centred = np.nan_to_num(values - mean)
    precision = np.linalg.pinv(np.atleast_2d(np.cov(centred, rowvar=False)), hermitian=True)
    distances = (centred @ precision * centred).sum(axis=1)
    threshold = float(np.quantile(distances, 1 - OUTLIER_SHARE))
    return OutlierDetector(
        features=numbers,
        mean=mean.tolist(),
        precision=precision.tolist(),
        threshold=threshold,
        share=_shares([(distances <= threshold).sum()], (distances > threshold).sum())[1],
    )


def shortest(value: np.floating) -> float:
    """The shortest decimal that gives the same float32, such as 38.8 for 38.79999923706055."""
    return float(str(np.float32(value)))


def _shares(inner: Iterable[float], *rest: float) -> list[float]:
    """Shares that are never 0: half a row is added to each count (Jeffreys' prior)."""
    counts = np.array([*inner, *rest], dtype=np.float64) + 0.5
    return (counts / counts.sum()).tolist()
