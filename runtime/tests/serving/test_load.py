"""Right answers and right counts under load, and after the loss of a worker."""

import json
import os
import signal
import threading
import time
from dataclasses import dataclass, field
from http.client import HTTPException

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from modelloop.contract import served_model
from modelloop.testing.servers import JSON, PREDICT, Server, read, wait_until_ready

pytestmark = pytest.mark.slow

SECONDS = float(os.environ.get("LOAD_SECONDS", "4"))
CLIENTS = 8


@dataclass
class Tally:
    """What one client has seen."""

    right: int = 0
    wrong: list[str] = field(default_factory=list)
    lost: list[float] = field(default_factory=list)  # when


def test_a_killed_worker_costs_only_its_requests_in_flight(
    serve, model_dir, contract, names, valid, expected
):
    settings = {"SERVE_WORKERS": 2, "SERVE_THREADS": 4}
    with serve(model_dir, **settings) as server:
        bodies = [json.dumps({"data": {"names": names, "ndarray": [row]}}) for row in valid]
        end = time.monotonic() + SECONDS
        tallies = [Tally() for _ in range(CLIENTS)]
        clients = [
            threading.Thread(target=load, args=(server, bodies, expected, end, tally))
            for tally in tallies
        ]
        for thread in clients:
            thread.start()

        threading.Event().wait(SECONDS / 2)  # the load is on
        first, second = server.workers
        killed_at = time.monotonic()
        os.kill(first, signal.SIGKILL)

        for thread in clients:
            thread.join()
        wait_until_ready(server.process, server.port)
        replaced = server.workers
        counted = [counters(server) for _ in range(4)]  # whichever worker answers

    lost = [when for tally in tallies for when in tally.lost]
    right = [tally.right for tally in tallies]
    print(f"{sum(right)} right answers, {len(lost)} requests lost")
    assert not [wrong for tally in tallies for wrong in tally.wrong]
    assert len(lost) <= CLIENTS
    assert all(when >= killed_at for when in lost)
    assert len(replaced) == 2
    assert second in replaced
    assert first not in replaced
    assert min(right) > 0
    assert counted == counted[:1] * 4
    # A request in flight at the kill may have been counted or not.
    assert all(sum(right) <= count <= sum(right) + len(lost) for count in counted[0].values())
    assert len(counted[0]) == 3 + len(contract.features)


def counters(server: Server) -> dict[str, float]:
    """Everything that has counted the answered rows: the same number again and again."""
    page = server.call("GET", "/metrics", port=server.metrics_port).text
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if (
                sample.name
                in (
                    "model_feature_bin_total",
                    "model_rows_total",
                    "model_request_duration_seconds_count",
                )
                or sample.labels.get("code") == "200"
            ):
                key = sample.name + sample.labels.get("feature", "")
                found[key] = found.get(key, 0) + sample.value
    return found


def load(server: Server, bodies: list[str], expected: np.ndarray, end: float, tally: Tally) -> None:
    """Ask one request after the other; one that is lost is the last of its connection."""
    connection = server.connect()
    i = 0
    while time.monotonic() < end:
        i = (i + 1) % len(bodies)
        try:
            connection.request("POST", PREDICT, bodies[i], JSON)
            answer = read(connection)
        except (OSError, HTTPException):
            tally.lost.append(time.monotonic())
            connection.close()
            connection = server.connect()
            continue
        outputs = answer.json["data"]["ndarray"] if answer.status == 200 else []
        if served_model.differs(np.array(outputs), expected[i : i + 1]):
            tally.wrong.append(answer.text)
        else:
            tally.right += 1
    connection.close()
