"""This team's own metrics, exported beside the server's. Yours to edit, or to empty.

Plain prometheus_client objects; the server adds up its workers. Of a Gauge, say how, as in
Gauge(..., multiprocess_mode="livemax"). Label them with model_name, so that models can share a
Prometheus.
"""

import numpy as np
from modelloop.serving import MISSING, Prediction
from prometheus_client import Counter

from . import project

# The server counts missing values by feature, which does not tell in how many rows they are.
INCOMPLETE = Counter("incomplete_rows", "Answered rows with a value missing.", ["model_name"])
INCOMPLETE.labels(project.slug)  # from the start at 0, or the first one is lost to increase()


def observe(prediction: Prediction) -> None:
    """Look at the rows of an answered request: `inputs` by feature, and their `outputs`."""
    missing = [
        values == MISSING if values.dtype == object else np.isnan(values)
        for values in prediction.inputs.values()
    ]
    INCOMPLETE.labels(project.slug).inc(int(np.any(missing, axis=0).sum()))
