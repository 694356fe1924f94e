"""Requests of simulated clients: rows of the repository's own data, as they are or drifted.

They are the training rows, which drift is measured against: with a split by time, the test rows may
have drifted already. Some requests are followed by feedback, the row's true label.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import pandas as pd

from modelloop import http
from modelloop.contract.served_model import MISSING
from modelloop.errors import UserError
from modelloop.project import Project
from modelloop.serving import client
from modelloop.training import dataset

RATE = 150.0  # requests a second
SHARE = 0.2  # of the rows: those that drifted clients have
LABELLED = 5  # each time after so many requests, feedback follows

# A request's body, and the row's true label.
Case = tuple[bytes, str | float]


class Traffic:
    """Sends one row a request, evenly, from a thread.

    Attributes:
        drifted: whether the rows have only large values (or the rarest category) of `feature`.
        feature: which one drifts.
        answered: how many requests were answered with 200.
    """

    def __init__(self, project: Project, port: int) -> None:
        """Read the rows; send to 127.0.0.1:port."""
        rows = _rows(project)
        self.feature = _drifting(rows)
        self.drifted = False
        self.answered = 0
        self._port = port
        self._cases = {False: _cases(rows), True: _cases(_extreme(rows, self.feature))}
        self._random = np.random.default_rng(0)
        self._stopped = threading.Event()

    @contextmanager
    def sent(self) -> Iterator["Traffic"]:
        """Send until the block ends."""
        thread = threading.Thread(target=self._send)
        thread.start()
        try:
            yield self
        finally:
            self._stopped.set()
            thread.join()

    def _send(self) -> None:
        url = f"http://127.0.0.1:{self._port}"
        due = time.monotonic()
        with http.connect(url) as connection:
            while not self._stopped.wait(max(0.0, due - time.monotonic())):
                # After a pause of the server, the missed requests of one second at most are sent.
                due = max(due + 1 / RATE, time.monotonic() - 1)
                cases = self._cases[self.drifted]
                body, truth = cases[self._random.integers(len(cases))]
                with suppress(http.HttpError):  # refused, or the server is not there at the moment
                    answer = http.call(url + client.PREDICT, body, connection=connection)
                    self.answered += 1
                    if self.answered % LABELLED == 0:
                        feedback = {"response": answer, "truth": {"data": {"ndarray": [[truth]]}}}
                        http.call(url + client.FEEDBACK, feedback, connection=connection)


def _rows(project: Project) -> pd.DataFrame:
    """The training rows of the repository's data: the features, and last the target."""
    rows = dataset.load(project)
    return rows.train[[*(rule.name for rule in rows.features), rows.target.name]]


def _drifting(rows: pd.DataFrame) -> str:
    """The feature that drifts: the number with most values, else the first category that varies."""
    features = [*rows.columns[:-1]]
    numbers = [name for name in features if pd.api.types.is_numeric_dtype(rows[name])]
    varied = sorted(numbers, key=lambda name: rows[name].nunique())
    others = [name for name in features if rows[name].nunique() > 1]
    if not others:
        raise UserError("no feature has two values in the data: nothing can drift")
    return varied[-1] if varied and rows[varied[-1]].nunique() > 1 else others[0]


def _extreme(rows: pd.DataFrame, feature: str) -> pd.DataFrame:
    """The rows with the largest values of a feature, or with its rarest category."""
    values = rows[feature]
    if pd.api.types.is_numeric_dtype(values):
        return rows[values >= values.quantile(1 - SHARE)]
    return rows[values == values.value_counts().index[-1]]


def _cases(rows: pd.DataFrame) -> list[Case]:
    """A request for each row, and its true label."""
    cases = []
    for *row, truth in rows.to_dict("split")["data"]:
        values = [None if v != v or v == MISSING else _plain(v) for v in row]
        data = {"names": [*rows.columns[:-1]], "ndarray": [values]}
        cases.append((json.dumps({"data": data}).encode(), _plain(truth)))
    return cases


def _plain(value: Any) -> str | float:
    """Text, or a number of Python's, which JSON can hold."""
    return value if isinstance(value, str) else float(value)
