import numpy as np
import pandas as pd
import pytest

from modelloop.training.outliers import outlier_detector


def test_one_training_row_in_a_hundred_is_an_outlier():
    random = np.random.default_rng(0)
    covariance = [[1.0, 0.8], [0.8, 4.0]]
    values = random.multivariate_normal([5, -3], covariance, 20_000)
    table = pd.DataFrame(values, columns=["a", "b"])
    found = outlier_detector(table, ["a", "b"])
    centred = table.to_numpy() - found.mean
    distance = np.einsum("ni,ij,nj->n", centred, np.array(found.precision), centred)
    assert (distance > found.threshold).sum() == 200
    assert found.share == pytest.approx(0.01, abs=1e-4)
    # A missing number is nothing unusual.
    rare = table.assign(a=table["a"].where(random.random(20_000) < 0.9))
    assert outlier_detector(rare, ["a", "b"]).share == pytest.approx(0.01, abs=1e-4)


def test_no_numbers_no_detector():
    assert outlier_detector(pd.DataFrame({"a": ["x"]}), []) is None
