"""What training saw, as the contract keeps it: column profiles, references, outlier detector."""

import numpy as np
import pandas as pd
from scipy.stats import chi2

from ..columns import ColumnRule
from ..contract import Column, OutlierDetector, Reference
from ..served_model import MISSING

BINS = 10  # quantile bins: the usual choice for a population stability index


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
        categories = rule.categories or seen
        return Column(
            **common,
            categories=categories,
            missing=float((values == MISSING).mean()),
            reference=category_reference(values, categories),
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
    """One bin per category."""
    counts = values.value_counts()
    inner = np.array([counts.get(c, 0) for c in categories], dtype=np.float64)
    missing = counts.get(MISSING, 0)
    other = len(values) - inner.sum() - missing
    return Reference(categories=categories, shares=_shares(inner, other, missing))


def prediction_reference(outputs: np.ndarray, classes: list[str]) -> Reference:
    """The distribution of a model's outputs, (n, k): of the predicted class, or of the value."""
    if classes:
        labels = pd.Series([classes[i] for i in outputs.argmax(axis=1)])
        return category_reference(labels, classes)
    return number_reference(pd.Series(outputs[:, 0]))


def outlier_detector(table: pd.DataFrame, numbers: list[str]) -> OutlierDetector | None:
    """Fit the Mahalanobis detector on the numeric inputs; None without numbers.

    The pseudo-inverse copes with numbers that are constant or sums of others.
    """
    if not numbers:
        return None
    values = table[numbers].to_numpy(dtype=np.float64)
    mean = np.nan_to_num(np.nanmean(values, axis=0))
    filled = np.where(np.isnan(values), mean, values)
    covariance = np.atleast_2d(np.cov(filled, rowvar=False))
    return OutlierDetector(
        features=numbers,
        mean=mean.tolist(),
        precision=np.linalg.pinv(covariance, hermitian=True).tolist(),
        threshold=float(chi2.ppf(0.999, df=len(numbers))),
    )


def shortest(value: np.floating) -> float:
    """The shortest decimal that gives the same float32, such as 38.8 for 38.79999923706055."""
    return float(str(np.float32(value)))


def _shares(inner: np.ndarray, other: float, missing: float) -> list[float]:
    counts = np.array([*inner, other, missing], dtype=np.float64)
    return (counts / counts.sum()).tolist()
