"""A GoCD server's responses about pipelines, with the texts and the order of checks of its source.

It records every request and every run that it started, and can fail in the ways that matter to
clients: not respond, before or after it has accepted a request; close the connection; list a run
late.
"""

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

V1 = "application/vnd.go.cd.v1+json"
LATEST = "application/vnd.go.cd+json"
NOT_FOUND = (
    "Either the resource you requested was not found, "
    "or you are not authorized to perform this action."
)


@dataclass
class Run:
    """An instance of a pipeline."""

    counter: int
    scheduled_date: int  # milliseconds
    variables: dict[str, str]
    hidden: int = 0  # the next so many requests for the history do not list it


@dataclass
class Pipeline:
    """A pipeline, and why it may refuse to start."""

    variables: frozenset[str] = frozenset({"RETRAIN_REASON", "ALERT_FINGERPRINT"})
    paused: bool = False
    locked: bool = False
    first_stage_runs: bool = False
    runs: list[Run] = field(default_factory=list)

    @property
    def shown(self) -> list[Run]:
        """The runs that the history lists."""
        return [run for run in self.runs if not run.hidden]


@dataclass
class Call:
    """A request."""

    method: str
    path: str
    headers: dict[str, str]
    body: str


@dataclass
class GoCD:
    """The server's state, which tests change, and its record."""

    pipelines: dict[str, Pipeline]
    url: str
    token: str = "personal-access-token"
    may_operate: bool = True
    in_maintenance: bool = False
    # "answer"; or a failure after the request was accepted, or instead of that: "hang", "break" (no
    # response) or an HTTP status
    after_taking: str | int = "answer"
    instead_of_taking: str | int = "answer"
    show_after: int = 0  # requests for the history, until it lists a new run
    calls: list[Call] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    @property
    def asked(self) -> list[Call]:
        """The requests to start something."""
        return [call for call in self.calls if call.method == "POST"]

    @property
    def runs(self) -> list[Run]:
        """The runs of all pipelines."""
        return [run for pipeline in self.pipelines.values() for run in pipeline.runs]


@contextmanager
def running(*pipelines: str, port: int = 0) -> Iterator[GoCD]:
    """A server with these pipelines; every one has run once."""
    server = _HttpServer(("127.0.0.1", port), _Handler)
    known = {name: Pipeline(runs=[Run(1, _now(), {})]) for name in pipelines}
    server.gocd = GoCD(known, f"http://127.0.0.1:{server.server_port}")
    server.lock = threading.Lock()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.gocd
    finally:
        server.gocd.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _now() -> int:
    return int(time.time() * 1000)


class _HttpServer(ThreadingHTTPServer):
    gocd: GoCD
    lock: threading.Lock


class _Handler(BaseHTTPRequestHandler):
    server: _HttpServer

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._handle("")

    def do_POST(self) -> None:
        self._handle(self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode())

    def _handle(self, body: str) -> None:
        gocd = self.server.gocd
        with self.server.lock:
            gocd.calls.append(Call(self.command, self.path, dict(self.headers), body))
            if self.command == "POST" and gocd.instead_of_taking != "answer":
                failure = gocd.instead_of_taking
            else:
                status, answer = self._decide(gocd, body)
                failure = gocd.after_taking if status == 202 else "answer"
        if failure == "hang":
            gocd.released.wait(60)
        elif isinstance(failure, int):
            self._answer(failure, f"<html>a proxy's page: {self.headers['Authorization']}</html>")
        elif failure == "answer":
            self._answer(status, answer)

    def _decide(self, gocd: GoCD, body: str) -> tuple[int, object]:
        if gocd.in_maintenance and self.command == "POST":
            return 503, _message("Server is in maintenance mode, please try later.")
        token = re.fullmatch("bearer (.*)", self.headers.get("Authorization", ""), re.IGNORECASE)
        if not token:
            return 401, _message("You are not authenticated!")
        if token[1] != gocd.token:
            return 401, _message("Invalid Personal Access Token.")
        if self.headers.get("Accept") not in (V1, LATEST):
            return 404, "The url you are trying to reach appears to be incorrect.\n"
        path = re.fullmatch("/go/api/pipelines/([^/]+)/(schedule|history)", self.path)
        if not path or (path[2] == "schedule") != (self.command == "POST"):
            return 404, _message(NOT_FOUND)
        if self.command == "POST":
            kind = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            if body and kind != "application/json":
                return 415, _message("You must specify a 'Content-Type' of 'application/json'")
            if not body and "X-GoCD-Confirm" not in self.headers:
                return 400, _message("Missing required header 'X-GoCD-Confirm' with value 'true'")
        if not gocd.may_operate:
            return 403, _message("You are not authorized to perform this action.")
        name = path[1]
        pipeline = gocd.pipelines.get(name)
        if not pipeline:
            return 404, _message(f"Pipeline with name '{name}' was not found!")
        if self.command == "GET":
            return 200, history(name, pipeline)
        return self._schedule(gocd, name, pipeline, body)

    def _schedule(self, gocd: GoCD, name: str, pipeline: Pipeline, body: str) -> tuple[int, object]:
        try:
            options = json.loads(body or "{}")
        except ValueError as error:
            return 400, {"error": f"Payload data is not valid JSON: {error}"}
        given = options.get("environment_variables", [])
        for variable in given:
            for key in ("name", "value"):
                if key not in variable:
                    text = json.dumps(variable)
                    return 422, _message(f"Json `{text}` does not contain property '{key}'")
            if variable["name"] not in pipeline.variables:
                fault = (
                    f"Variable '{variable['name']}' has not been configured for pipeline '{name}'"
                )
                return 422, _message("Request to schedule pipeline rejected { " + fault + " }")
        reason = None
        if len(pipeline.shown) < len(pipeline.runs):
            reason = f"Failed to trigger pipeline: {name} ", "Pipeline already triggered"
        elif pipeline.paused:
            reason = f"Failed to trigger pipeline [{name}] ", f"Pipeline {name} is paused"
        elif pipeline.first_stage_runs:
            stage = f"Stage [train] in pipeline [{name}] is still in progress"
            reason = f"Failed to trigger pipeline [{name}] ", stage
        elif pipeline.locked:
            lock = "is locked as another instance of this pipeline is running. "
            reason = f"Pipeline {name} cannot be scheduled ", f"Pipeline {name} {lock}"
        if reason:
            return 409, _message(reason[0] + "{ " + reason[1] + " }")
        counter = len(pipeline.runs) + 1
        variables = {variable["name"]: variable["value"] for variable in given}
        pipeline.runs.append(Run(counter, _now(), variables, gocd.show_after))
        return 202, _message(f"Request to schedule pipeline {name} accepted")

    def _answer(self, status: int, answer: object) -> None:
        text = answer if isinstance(answer, str) else json.dumps(answer)
        kind = "text/plain" if isinstance(answer, str) else V1
        self.send_response(status)
        self.send_header("Content-Type", f"{kind};charset=utf-8")
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())


def _message(message: str) -> dict[str, str]:
    """The body of a response with a message."""
    return {"message": message}


def history(name: str, pipeline: Pipeline) -> dict[str, list]:
    """The newest ten runs, newest first; each request brings hidden ones nearer."""
    shown = pipeline.shown[-10:][::-1]
    for run in pipeline.runs:
        run.hidden = max(0, run.hidden - 1)
    return {
        "pipelines": [
            {
                "name": name,
                "counter": run.counter,
                "label": str(run.counter),
                "natural_order": float(run.counter),
                "can_run": True,
                "preparing_to_schedule": False,
                "comment": None,
                "scheduled_date": run.scheduled_date,
                "build_cause": {
                    "trigger_message": "Forced by retrain",
                    "trigger_forced": True,
                    "approver": "retrain",
                    "material_revisions": [],
                },
                "stages": [],
            }
            for run in shown
        ]
    }
