"""Requests of made-up clients: rows of the repository's own data, as they are or drifted.

They are the training rows, which drift is measured against: with a split by time, the test rows may
have drifted already. Now and then a client tells the truth about its row.
"""

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd

from .. import client, columns, data, model
from ..errors import UserError
from ..served_model import MISSING
from ..settings import Settings
from ..training import prepare, validate

RATE = 150.0  # requests a second
SHARE = 0.2  # of the rows: those that drifted clients have
LABELLED = 5  # every so many requests are followed by feedback
HEADERS = {"Content-Type": "application/json"}

# A request's body, and the truth about its row.
Case = tuple[bytes, str | float]


class Traffic:
    """Sends one row a request, evenly, from a thread.

    Attributes:
        drifted: whether the rows have only large values (or the rarest category) of `feature`.
        feature: which one drifts.
        answered: how many requests were answered with 200.
    """

    def __init__(self, env: Settings, port: int) -> None:
        """Read the rows; send to 127.0.0.1:port."""
        rows = _rows(env)
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
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        due = time.monotonic()
        while not self._stopped.wait(max(0.0, due - time.monotonic())):
            due = max(due + 1 / RATE, time.monotonic() - 1)  # what was missed is not made up for
            cases = self._cases[self.drifted]
            body, truth = cases[self._random.integers(len(cases))]
            try:
                answer = _post(connection, client.PREDICT, body)
                self.answered += answer is not None
                if answer and self.answered % LABELLED == 0:
                    feedback = {"response": answer, "truth": {"data": {"ndarray": [[truth]]}}}
                    _post(connection, client.FEEDBACK, json.dumps(feedback).encode())
            except (OSError, http.client.HTTPException):
                connection.close()  # the server may be away; the next request connects anew
        connection.close()


def _post(connection: http.client.HTTPConnection, path: str, body: bytes) -> dict | None:
    """The answer, None where it is a refusal."""
    connection.request("POST", path, body, HEADERS)
    response = connection.getresponse()
    text = response.read()
    return json.loads(text) if response.status == 200 else None


def _rows(env: Settings) -> pd.DataFrame:
    """The training rows of the repository's data: the features, and last the target."""
    valid = validate.validate(data.load(env.data_uri, env.data_query), data.SCHEMA)
    features = columns.column_rules(data.SCHEMA, model.FEATURES)
    target = columns.target_rule(data.SCHEMA, model.TARGET)
    table = prepare.prepare(valid, features, target, model.WEIGHT, model.SPLIT)
    train_rows, _ = prepare.split(table, model.TEST_SHARE, model.SPLIT)
    return train_rows[[*model.FEATURES, model.TARGET]]


def _drifting(rows: pd.DataFrame) -> str:
    """The feature that drifts: the number with most values, else the first category that varies."""
    numbers = [name for name in model.FEATURES if pd.api.types.is_numeric_dtype(rows[name])]
    varied = sorted(numbers, key=lambda name: rows[name].nunique())
    others = [name for name in model.FEATURES if rows[name].nunique() > 1]
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
    """A request for each row, and its truth."""
    cases = []
    for *row, truth in rows.to_dict("split")["data"]:
        values = [None if v != v or v == MISSING else _plain(v) for v in row]
        data = {"names": model.FEATURES, "ndarray": [values]}
        cases.append((json.dumps({"data": data}).encode(), _plain(truth)))
    return cases


def _plain(value: object) -> str | float:
    """Text, or a number as JSON knows it."""
    return value if isinstance(value, str) else float(value)
