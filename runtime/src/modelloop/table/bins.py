"""Bins of values: the distribution of each column in training, and the drift from it (PSI).

Numbers have quantile bins, categories a bin each. The contract keeps them as references, the server
counts rows by bin, and drift is measured over the counts.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from modelloop.contract.contract import Column, Reference
from modelloop.contract.served_model import MISSING
from modelloop.table.columns import ColumnRule

BINS = 10  # quantile bins, the usual number for a population stability index
# Each bin of each feature is two series for Prometheus; rarer categories share the bin `other`.
MOST_CATEGORIES = 30
# Observed shares are shrunk towards those of training by so many rows, so that empty bins among few
# rows raise no alarm; the repository's recording rules for Prometheus do the same.
PRIOR_ROWS = 20


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
    return Reference(edges=edges.tolist(), shares=shares_of(counts, 0, values.isna().sum()))


def category_reference(values: pd.Series, categories: list[str]) -> Reference:
    """One bin per category; of many categories, one for each of the most frequent."""
    counts = values.value_counts()
    kept = [c for c in categories if c != MISSING]
    if len(kept) > MOST_CATEGORIES:
        kept = sorted(kept, key=lambda c: -counts.get(c, 0))[:MOST_CATEGORIES]
    inner = np.array([counts.get(c, 0) for c in kept], dtype=np.float64)
    missing = counts.get(MISSING, 0)
    other = len(values) - inner.sum() - missing
    return Reference(categories=kept, shares=shares_of(inner, other, missing))


def prediction_reference(outputs: np.ndarray, classes: list[str]) -> Reference:
    """The distribution of a model's outputs, (n, k): of the predicted class, or of the value."""
    if classes:
        labels = pd.Series([classes[i] for i in outputs.argmax(axis=1)])
        return category_reference(labels, classes)
    return number_reference(pd.Series(outputs[:, 0]))


def psi(counts: np.ndarray, shares: np.ndarray) -> float:
    """Population stability index of rows by bin against the shares of training.

    sum((p - q) ln(p / q)) over the bins, with p shrunk towards q by PRIOR_ROWS rows. 0 is no drift,
    0.1 to 0.25 a moderate one (Siddiqi, Credit Risk Scorecards, 2006, chapter 8).

    Args:
        counts: how many rows are in each bin, (bins,).
        shares: of the training rows, (bins,), none of them 0; they need not sum to 1.
    """
    q = np.asarray(shares, dtype=np.float64) / np.sum(shares)
    n = np.asarray(counts, dtype=np.float64)
    p = (n + PRIOR_ROWS * q) / (n.sum() + PRIOR_ROWS)
    return float(np.sum((p - q) * np.log(p / q)))


def shortest(value: np.floating) -> float:
    """The shortest decimal that gives the same float32, such as 38.8 for 38.79999923706055."""
    return float(str(np.float32(value)))


def shares_of(inner: Iterable[float], *rest: float) -> list[float]:
    """Shares that are never 0: half a row is added to each count (Jeffreys' prior)."""
    counts = np.array([*inner, *rest], dtype=np.float64) + 0.5
    return (counts / counts.sum()).tolist()
