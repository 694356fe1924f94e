"""Transformers of this team's own, for the pipelines in model.py. Yours to edit.

Training and the server both import this module, and the server trusts what it defines: here, and
nowhere else, is the place for classes and functions that a candidate is made of. The server has
numpy, scipy and scikit-learn, no pandas, and hands over an array whose columns are in the order of
the pipeline, of objects where there are categories: convert it first. Parameters of `__init__` are
kept under their own names, as scikit-learn asks. Such a pipeline is served by scikit-learn.

TRUSTED_PACKAGES are others whose estimators and transformers such a pipeline may hold. The server
needs them too: a line each in requirements/main.in and requirements/serve.in, then `make lock`.
"""

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

TRUSTED_PACKAGES: tuple[str, ...] = ()  # such as "lightgbm", by the name of its import


class Ratios(TransformerMixin, BaseEstimator):
    """Adds the ratio of each column to the next one: how long for its depth, how much a month."""

    def fit(self, x: object, y: object = None) -> "Ratios":
        """Remember how many columns there are; there is nothing else to learn."""
        self.n_features_in_ = np.shape(x)[1]
        return self

    def transform(self, x: object) -> np.ndarray:
        """The columns, (n, k), and k - 1 ratios behind them; one with a 0 below is missing."""
        values = np.asarray(x, dtype=np.float32)
        below = np.where(values[:, 1:] == 0, np.nan, values[:, 1:])
        return np.hstack([values, values[:, :-1] / below])
