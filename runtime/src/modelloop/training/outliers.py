"""The outlier detector: how far a row is from the training rows."""

import numpy as np
import pandas as pd

from modelloop.contract.contract import OutlierDetector
from modelloop.table.bins import shares_of

OUTLIER_SHARE = 0.01  # of the training rows
MOST_NUMBERS = 50  # that the detector looks at: its matrix grows with their square


def outlier_detector(table: pd.DataFrame, numbers: list[str]) -> OutlierDetector | None:
    """Fit the Mahalanobis detector on the first MOST_NUMBERS numeric inputs.

    The pseudo-inverse handles inputs that are constant or sums of others. The threshold is a
    quantile of the training rows' own distances: the chi-squared distribution would assume normal
    inputs.

    Args:
        table: the training rows.
        numbers: the names of the numeric inputs.

    Returns:
        The detector; None where there are no numeric inputs.
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
        share=shares_of([(distances <= threshold).sum()], (distances > threshold).sum())[1],
    )
