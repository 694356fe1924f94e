"""This team's own metrics, exported beside the server's. Yours to edit, or to empty.

Plain prometheus_client objects; the server adds up its workers. Of a Gauge, say how, as in
Gauge(..., multiprocess_mode="livemax"). Label them with model_name, so that models can share a
Prometheus.
"""

from prometheus_client import Counter

from . import project
from .serving.predictor import Prediction

# Which islands a species lives on: two columns that are each as ever can contradict one another.
ISLANDS = {
    "Adelie": {"Biscoe", "Dream", "Torgersen"},
    "Chinstrap": {"Dream"},
    "Gentoo": {"Biscoe"},
}
OUT_OF_PLACE = Counter(
    "penguins_out_of_place",
    "Penguins on an island where their species does not live.",
    ["model_name", "species"],
)
for species in ISLANDS:  # from the start at 0, or the first one is lost to increase()
    OUT_OF_PLACE.labels(project.SLUG, species)


def observe(prediction: Prediction) -> None:
    """Look at the rows of an answered request: `inputs` by feature, and their `outputs`."""
    inputs = prediction.inputs
    for species, island in zip(inputs.get("species", ()), inputs.get("island", ()), strict=False):
        if species in ISLANDS and island not in ISLANDS[species]:
            OUT_OF_PLACE.labels(project.SLUG, species).inc()
