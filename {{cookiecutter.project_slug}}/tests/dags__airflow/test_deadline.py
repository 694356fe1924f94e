"""Who is told of a late DAG run."""

import asyncio
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest

from {{ cookiecutter.package_name }}_deadline import late

RUN = {"dag_id": "x-training", "dag_run_id": "scheduled__1", "state": "running"}
CONTEXT = {"dag_run": RUN, "deadline": {"id": "1", "deadline_time": "2026-03-01T07:00:00Z"}}
SUMMARY = "x-training, run scheduled__1, is not done at 2026-03-01T07:00:00Z"


class Alertmanager(BaseHTTPRequestHandler):
    """Keeps what it is told, and answers as it was set to."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.told.append((self.path, self.headers["Authorization"], json.loads(body)))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def alertmanager(monkeypatch: pytest.MonkeyPatch) -> Iterator[HTTPServer]:
    """A server, and Airflow's connection to it."""
    with HTTPServer(("127.0.0.1", 0), Alertmanager) as server:
        server.told, server.status = [], 200
        host = f"http://127.0.0.1:{server.server_port}/"
        connection = {"conn_type": "http", "host": host, "password": "secret-token"}
        monkeypatch.setenv("AIRFLOW_CONN_ALERTMANAGER", json.dumps(connection))
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def tell() -> None:
    asyncio.run(late(model="x", runbook="https://example.com/airflow.md", context=CONTEXT))


def test_alertmanager_gets_a_ticket_that_lasts_till_tomorrow(alertmanager):
    tell()
    ((path, authorization, (alert,)),) = alertmanager.told
    assert path == "/api/v2/alerts"
    assert authorization == "Bearer secret-token"
    assert alert["labels"] == {
        "alertname": "AirflowRunLate",
        "severity": "ticket",
        "model_name": "x",
        "dag_id": "x-training",
    }
    assert alert["annotations"] == {
        "summary": SUMMARY,
        "description": "It is running.",
        "runbook_url": "https://example.com/airflow.md",
    }
    lasts = datetime.fromisoformat(alert["endsAt"]) - datetime.now(UTC)
    assert timedelta(hours=23) < lasts < timedelta(hours=25)


def test_without_alertmanager_the_log_says_it(caplog):
    tell()
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == [SUMMARY]


def test_a_refusal_is_no_secret_and_holds_none(alertmanager):
    alertmanager.status = 401
    with pytest.raises(httpx.HTTPStatusError, match="401") as caught:
        tell()
    assert "secret-token" not in str(caught.value)
