"""The part of Kubeflow Pipelines' API v2beta1 that clients of a repository use, in one process.

Responses have the names, types and status codes of Kubeflow 2.17, as in its source. Only the
standard library is needed, but for PyYAML when a client requests the content of a version, and for
kfp when runs are executed.

    with KubeflowServer() as server:
        version = server.add_version("churn-training", "v1")
        ...                                   # a client works with server.url
        server.task(run_id, "train", "FAILED", message="out of memory")
        server.finish(run_id, "FAILED")

As a command: `python -m modelloop.testing.kubeflow_server PORT [--execute REPOSITORY]` prints its
address and serves until it is ended by a signal.
"""

import argparse
import base64
import email
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email import policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

ROOT = "/apis/v2beta1"
EPOCH = "1970-01-01T00:00:00Z"  # Kubeflow's value for a time that has not come
ENDS = ("SUCCEEDED", "FAILED", "SKIPPED", "CANCELED")
CODES = {400: 3, 401: 16, 403: 7, 404: 5, 409: 6, 500: 13, 501: 12, 503: 14}  # google.rpc.Code
OPERATIONS: dict[str, Callable[[str, str], bool]] = {
    "EQUALS": str.__eq__,
    "NOT_EQUALS": str.__ne__,
    "IS_SUBSTRING": lambda value, wanted: wanted in value,
}
NUMBERS = {1: "EQUALS", 2: "NOT_EQUALS", 9: "IS_SUBSTRING"}  # kfp.Client sends these


Json = dict[str, Any]
Query = dict[str, str]
Route = Callable[..., Json]
Show = Callable[[Json], Json]  # how an item is in a response


class ApiError(Exception):
    """A response that is not a success."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class KubeflowServer:
    """A server; its lists may be read, and changed under `lock`.

    Attributes:
        url: its address.
        pipelines: dictionaries with the API's names, in the order in which they were created.
        versions: of the pipelines; `content` is the YAML as it was uploaded.
        experiments: as they were created.
        runs: as they were requested, with state and details.
        recurring_runs: the schedules.
        requests: every request: (method, path, query, body or None).
        tokens: the bearer tokens that are accepted; using one ends those before it. Empty: any.
        cookie: the Cookie header that is required, else the response is a login page.
        namespaces: those that may be used; empty: Kubeflow has one user.
        final_state: the state that runs end in without `finish`; empty: they keep running.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        execute: Path | None = None,
        environment: dict[str, str] | None = None,
        tokens: tuple[str, ...] = (),
        cookie: str = "",
        namespaces: tuple[str, ...] = (),
        final_state: str = "",
    ) -> None:
        """Prepare; `with` starts and stops it.

        Args:
            port: 0 for any that is free.
            execute: the repository whose runs are executed, with kfp.local in a process of their
                own; None: no step is executed, tests set the states.
            environment: variables for the steps that are executed.
            tokens: the bearer tokens that are accepted.
            cookie: the Cookie header that is required.
            namespaces: those of a Kubeflow of several users.
            final_state: the state of runs from the second request for them on.
        """
        self.pipelines: list[Json] = []
        self.versions: list[Json] = []
        self.experiments: list[Json] = []
        self.runs: list[Json] = []
        self.recurring_runs: list[Json] = []
        self.requests: list[tuple[str, str, Query, object]] = []
        self.tokens, self.cookie, self.namespaces = tokens, cookie, namespaces
        self.final_state = final_state
        self.lock = threading.RLock()
        self._execute, self._environment = execute, environment or {}
        self._jobs: list[subprocess.Popen[str]] = []
        self._threads: list[threading.Thread] = []
        self._failures: list[tuple[str, str | int]] = []
        self._released = threading.Event()
        self._http = _HttpServer(self, port)
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> "KubeflowServer":
        self._serving = threading.Thread(target=self._http.serve_forever, args=(0.05,))
        self._serving.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        for job in self._jobs:
            if job.poll() is None:
                job.terminate()
        for thread in self._threads:
            thread.join(30)
        self._http.shutdown()
        self._http.server_close()
        self._serving.join()

    def fail_next(self, how: str | int, times: int = 1, path: str = "") -> None:
        """Let the next requests fail.

        Args:
            how: an HTTP status; "hang", until the server ends; "close", without a response;
                "lose", close after the request was carried out.
            times: how many of them.
            path: only those whose method and path, such as "GET /runs", match this expression.
        """
        with self.lock:
            self._failures += [(path, how)] * times

    def add_version(self, pipeline: str, name: str, content: str = "{}") -> Json:
        """Create a version, and the pipeline where there is none, as an upload does."""
        with self.lock:
            found = [p for p in self.pipelines if p["name"] == pipeline]
            owner = found[0] if found else self._new_pipeline({"name": pipeline})
            query = {"name": name, "pipelineid": owner["pipeline_id"]}
            return self._new_version(query, content)

    def task(
        self, run_id: str, name: str, state: str, seconds: float = 1.0, message: str = ""
    ) -> None:
        """Let a step of a run reach a state; again, to change it."""
        with self.lock:
            run = _one(self.runs, run_id=run_id)
            details = run.setdefault("run_details", {}).setdefault("task_details", [])
            now = time.time()
            made = {
                "run_id": run_id,
                "task_id": f"{name}-{len(details)}",
                "display_name": name,
                "create_time": run["created_at"],
                "start_time": _time(now - seconds),
                "end_time": _time(now) if state in ENDS else EPOCH,
                "state": state,
                **({"error": {"code": 2, "message": message}} if message else {}),
            }
            same = [t for t in details if t["display_name"] == name and t["state"] not in ENDS]
            if same:
                same[0].update(made, task_id=same[0]["task_id"])
            else:
                details.append(made)

    def finish(self, run_id: str, state: str, message: str = "") -> None:
        """Let a run reach a state, its last one or another."""
        with self.lock:
            run = _one(self.runs, run_id=run_id)
            run["state"] = state
            run["state_history"].append({"update_time": _time(), "state": state})
            run["finished_at"] = _time() if state in ENDS else EPOCH
            if message:
                run["error"] = {"code": 2, "message": message}

    def respond(self, method: str, path: str, query: Query, body: object) -> Json:
        """Carry out one request; returns the body of the response.

        Raises:
            ApiError: it is refused.
        """
        with self.lock:
            for pattern, method_of, function in self._routes():
                match = re.fullmatch(pattern, path)
                if match and method == method_of:
                    return function(query, body, *match.groups())
        raise ApiError(501 if method not in ("GET", "POST", "DELETE") else 404, "Not Found")

    def next_failure(self, request: str) -> str | int:
        """How this request is to fail; empty: not at all."""
        with self.lock:
            for at, (path, _) in enumerate(self._failures):
                if re.search(path, request):
                    return self._failures.pop(at)[1]
        return ""

    def wait_for_end(self) -> None:
        """Wait until the server ends."""
        self._released.wait(120)

    def _routes(self) -> Iterator[tuple[str, str, Route]]:
        one = "/([^/:]+)"
        yield "/healthz", "GET", lambda q, b: {"multi_user": bool(self.namespaces)}
        yield "/experiments", "GET", self._list("experiments", self.experiments)
        yield "/experiments", "POST", self._create_experiment
        yield f"/experiments{one}", "GET", self._get(self.experiments, "experiment_id")
        yield "/pipelines", "GET", self._list("pipelines", self.pipelines)
        yield "/pipelines", "POST", self._create_pipeline
        yield "/pipelines/upload", "POST", self._upload
        yield "/pipelines/upload_version", "POST", self._upload_version
        yield f"/pipelines/names{one}", "GET", self._get(self.pipelines, "name")
        yield f"/pipelines{one}", "GET", self._get(self.pipelines, "pipeline_id")
        yield f"/pipelines{one}", "DELETE", self._delete(self.pipelines, "pipeline_id")
        yield f"/pipelines{one}/versions", "GET", self._list_versions
        version = self._get(self.versions, "pipeline_version_id", _shown_version)
        yield f"/pipelines/[^/:]+/versions{one}", "GET", version
        delete = self._delete(self.versions, "pipeline_version_id")
        yield f"/pipelines/[^/:]+/versions{one}", "DELETE", delete
        yield "/runs", "GET", self._list("runs", self.runs)
        yield "/runs", "POST", self._create_run
        yield f"/runs{one}", "GET", self._get_run
        yield f"/runs{one}", "DELETE", self._delete(self.runs, "run_id")
        yield f"/runs{one}:terminate", "POST", self._terminate
        yield "/recurringruns", "GET", self._list("recurringRuns", self.recurring_runs)
        yield "/recurringruns", "POST", self._create_recurring_run
        schedules = (self.recurring_runs, "recurring_run_id")
        yield f"/recurringruns{one}", "GET", self._get(*schedules)
        yield f"/recurringruns{one}", "DELETE", self._delete(*schedules)
        yield f"/recurringruns{one}:(enable|disable)", "POST", self._switch

    def _list(self, field: str, items: list[Json], show: Show = dict) -> Route:
        def answer(query: Query, _: object) -> Json:
            self._check_namespace(query.get("namespace", ""), query.get("experiment_id", ""))
            found = [
                item
                for item in items
                if all(
                    not query.get(key) or item.get(key, query[key]) == query[key]
                    for key in ("namespace", "experiment_id")
                )
            ]
            return _page(field, found, query, show)

        return answer

    def _get(self, items: list[Json], key: str, show: Show = dict) -> Route:
        return lambda query, body, name: show(_one(items, **{key: name}))

    def _delete(self, items: list[Json], key: str) -> Route:
        def answer(query: Query, body: object, name: str) -> Json:
            items.remove(_one(items, **{key: name}))
            return {}

        return answer

    def _list_versions(self, query: Query, _: object, pipeline_id: str) -> Json:
        _one(self.pipelines, pipeline_id=pipeline_id)
        found = [v for v in self.versions if v["pipeline_id"] == pipeline_id]
        return _page("pipeline_versions", found, query, _shown_version)

    def _create_experiment(self, query: Query, body: Json) -> Json:
        namespace = self._check_namespace(body.get("namespace", ""), required=True)
        _demand_new(self.experiments, display_name=body["display_name"])
        made = body | {
            "experiment_id": str(uuid.uuid4()),
            "created_at": _time(),
            "last_run_created_at": EPOCH,
            "namespace": namespace,
            "storage_state": "AVAILABLE",
        }
        self.experiments.append(made)
        return made

    def _create_pipeline(self, query: Query, body: Json) -> Json:
        self._check_namespace(body.get("namespace", ""))
        return self._new_pipeline(body)

    def _new_pipeline(self, body: Json) -> Json:
        name = body.get("name") or body.get("display_name")
        if not name:
            raise ApiError(400, "Failed to create a pipeline: name is required")
        _demand_new(self.pipelines, name=name)
        made = {
            "pipeline_id": str(uuid.uuid4()),
            "name": name,
            "display_name": body.get("display_name") or name,
            "description": body.get("description", ""),
            "created_at": _time(),
            "namespace": body.get("namespace", ""),
        }
        self.pipelines.append(made)
        return made

    def _upload(self, query: Query, content: object) -> Json:
        self._check_namespace(query.get("namespace", ""))
        text = _pipeline_text(content)
        made = self._new_pipeline(query)
        self._new_version({**query, "pipelineid": made["pipeline_id"]}, text)
        return made

    def _upload_version(self, query: Query, content: object) -> Json:
        return _shown_version(self._new_version(query, _pipeline_text(content)))

    def _new_version(self, query: Query, content: str) -> Json:
        pipeline_id = query.get("pipelineid", "")
        _one(self.pipelines, pipeline_id=pipeline_id)
        _demand_new(self.versions, pipeline_id=pipeline_id, name=query["name"])
        made = {
            "pipeline_id": pipeline_id,
            "pipeline_version_id": str(uuid.uuid4()),
            "name": query["name"],
            "display_name": query.get("display_name") or query["name"],
            "description": query.get("description", ""),
            "created_at": _time(),
            "content": content,
        }
        self.versions.append(made)
        return made

    def _create_run(self, query: Query, body: Json) -> Json:
        if not body.get("display_name"):
            raise ApiError(400, "The run name is empty. Please specify a valid name")
        self._check_source(body)
        made = body | {
            "run_id": str(uuid.uuid4()),
            "created_at": _time(),
            "scheduled_at": _time(),
            "finished_at": EPOCH,
            "storage_state": "AVAILABLE",
            "state": "PENDING",
            "state_history": [{"update_time": _time(), "state": "PENDING"}],
        }
        self.runs.append(made)
        if self._execute:
            thread = threading.Thread(target=self._carry_out, args=(dict(made),))
            self._threads.append(thread)
            thread.start()
        return dict(made)

    def _get_run(self, query: Query, body: object, run_id: str) -> Json:
        run = _one(self.runs, run_id=run_id)
        if not self._execute and run["state"] == "PENDING":
            self.finish(run_id, "RUNNING")
        elif not self._execute and run["state"] == "RUNNING" and self.final_state:
            self.finish(run_id, self.final_state)
        return run

    def _terminate(self, query: Query, body: object, run_id: str) -> Json:
        self.finish(run_id, "CANCELED")
        return {}

    def _create_recurring_run(self, query: Query, body: Json) -> Json:
        self._check_source(body)
        cron = body.get("trigger", {}).get("cron_schedule", {}).get("cron", "")
        if len(cron.split()) not in (5, 6):
            count = len(cron.split())
            raise ApiError(
                400,
                "Schedule cron is not a supported format(https://godoc.org/github.com/robfig/cron)."
                f" Error: Expected 5 to 6 fields, found {count}: {cron}",
            )
        enabled = body.get("mode") == "ENABLE"
        made = body | {
            "recurring_run_id": str(uuid.uuid4()),
            "created_at": _time(),
            "updated_at": _time(),
            "status": "ENABLED" if enabled else "DISABLED",
        }
        self.recurring_runs.append(made)
        return made

    def _switch(self, query: Query, body: object, schedule_id: str, verb: str) -> Json:
        found = _one(self.recurring_runs, recurring_run_id=schedule_id)
        found |= {"mode": verb.upper(), "status": f"{verb.upper()}D"}
        return {}

    def _check_source(self, body: Json) -> None:
        if body.get("experiment_id"):
            _one(self.experiments, experiment_id=body["experiment_id"])
        reference = body.get("pipeline_version_reference")
        if not reference and not body.get("pipeline_spec"):
            raise ApiError(400, "Failed to parse the pipeline source")
        if reference:
            _one(self.versions, **reference)

    def _check_namespace(
        self, namespace: str, experiment_id: str = "", *, required: bool = False
    ) -> str:
        """The namespace that is used: Kubeflow of one user ignores that of a request."""
        if not self.namespaces:
            return ""
        if required and not namespace:
            raise ApiError(400, "An experiment cannot have an empty namespace in multi-user mode")
        if not experiment_id and not namespace and not required:
            return ""  # what all share
        if namespace and namespace not in self.namespaces:
            request = f"Namespace:{namespace},Verb:list,Group:pipelines.kubeflow.org"
            raise ApiError(
                403, f"User 'me@example.com' is not authorized with reason:  (request: {request})"
            )
        return namespace

    def _carry_out(self, run: Json) -> None:
        """Execute a run in a process of its own; its steps get their states as they end."""
        run_id = run["run_id"]
        version = run.get("pipeline_version_reference", {})
        content = (
            _one(self.versions, **version)["content"] if version else json.dumps(_spec_of(run))
        )
        parameters = run.get("runtime_config", {}).get("parameters", {})
        self.finish(run_id, "RUNNING")
        with tempfile.TemporaryDirectory() as folder:
            job = {
                "content": content,
                "parameters": parameters,
                "run_id": run_id,
                "repository": str(self._execute),
            }
            (Path(folder) / "job.json").write_text(json.dumps(job))
            # The job imports what this process can, wherever that was found.
            path = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
            with (Path(folder) / "errors.txt").open("w+") as errors:
                process = subprocess.Popen(
                    [sys.executable, "-m", "modelloop.testing.kubeflow_server", "--job", folder],
                    env={**os.environ, **path, **self._environment},
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                )
                self._jobs.append(process)
                assert process.stdout
                for line in process.stdout:
                    step = json.loads(line)
                    message = "" if step["state"] == "SUCCEEDED" else "Error (exit code 1)"
                    self.task(run_id, step["name"], step["state"], step["seconds"], message)
                state = "SUCCEEDED" if process.wait() == 0 else "FAILED"
                errors.seek(0)
                sys.stderr.write(errors.read())
        self.finish(run_id, state)


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, kubeflow: KubeflowServer, port: int) -> None:
        self.kubeflow = kubeflow
        super().__init__(("127.0.0.1", port), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _HttpServer
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # a response in one piece: small pieces wait for each other

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._handle(None)

    def do_DELETE(self) -> None:
        self._handle(None)

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kind = self.headers.get("Content-Type", "")
        if kind.startswith("multipart/"):
            message = email.message_from_bytes(
                f"Content-Type: {kind}\r\n\r\n".encode() + raw, policy=policy.HTTP
            )
            parts = {part.get_param("name", header="content-disposition"): part
                     for part in message.iter_parts()}  # fmt: skip
            found = parts.get("uploadfile")
            self._handle(None if found is None else found.get_payload(decode=True))
        else:
            self._handle(json.loads(raw or b"{}"))

    def _handle(self, body: object) -> None:
        kubeflow = self.server.kubeflow
        parts = urlsplit(self.path)
        path, query = parts.path.removeprefix(ROOT), dict(parse_qsl(parts.query))
        kubeflow.requests.append((self.command, path, query, body))
        failure = kubeflow.next_failure(f"{self.command} {path}")
        if failure == "hang":
            kubeflow.wait_for_end()
        if failure in ("hang", "close"):
            self.close_connection = True
            return
        try:
            if isinstance(failure, int):
                raise ApiError(failure, f"answer {failure} was asked for")
            if kubeflow.cookie and self.headers.get("Cookie") != kubeflow.cookie:
                self._send(200, "<html>log in</html>", "text/html")
                return
            self._check_token(kubeflow)
            response = kubeflow.respond(self.command, path, query, body)
            if failure == "lose":
                self.close_connection = True
                return
            self._send(200, json.dumps(response))
        except ApiError as error:
            message = str(error)
            refusal = {"error": message, "code": CODES.get(error.status, 2), "message": message}
            if path.startswith("/pipelines/upload"):
                refusal = {"error_message": message, "error_details": message}
            self._send(error.status, json.dumps(refusal))

    def _check_token(self, kubeflow: KubeflowServer) -> None:
        given = self.headers.get("Authorization", "")
        with kubeflow.lock:
            accepted = [f"Bearer {token}" for token in kubeflow.tokens]
            if given in accepted:
                kubeflow.tokens = kubeflow.tokens[accepted.index(given) :]
            elif accepted:
                # Some proxies disclose the token in their message.
                raise ApiError(401, f"Request header error: no user identity header. Got '{given}'")

    def _send(self, status: int, text: str, kind: str = "application/json") -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _time(seconds: float | None = None) -> str:
    when = datetime.now(UTC) if seconds is None else datetime.fromtimestamp(seconds, UTC)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _one(items: list[Json], **wanted: str) -> Json:
    for item in items:
        if all(item.get(key) == value for key, value in wanted.items()):
            return item
    raise ApiError(404, f"ResourceNotFoundError: {wanted} not found")


def _demand_new(items: list[Json], **wanted: str) -> None:
    if any(all(item[key] == value for key, value in wanted.items()) for item in items):
        raise ApiError(409, f"Already exist error: {wanted}")


def _page(field: str, items: list[Json], query: Query, show: Show) -> Json:
    """Filter, sort and cut a list as the query says."""
    for predicate in json.loads(query.get("filter") or "{}").get("predicates", []):
        operation = NUMBERS.get(predicate["operation"], predicate["operation"])
        wanted = predicate.get("string_value", predicate.get("stringValue"))
        if operation not in OPERATIONS or wanted is None:
            raise ApiError(400, f"failed to parse valid filter from {query['filter']!r}")
        key = predicate["key"]
        items = [i for i in items if OPERATIONS[operation](str(i.get(key, "")), wanted)]
    by, _, order = query.get("sort_by", "").partition(" ")
    if by:
        # Those of one moment keep the order in which they were created: their ids have none.
        indexed = sorted(enumerate(items), key=lambda pair: (pair[1].get(by, ""), pair[0]))
        items = [item for _, item in indexed][:: -1 if order == "desc" else 1]
    start = int(base64.b64decode(query.get("page_token", "")) or 0)
    size = min(int(query.get("page_size") or 20), 200)
    page = {field: [show(item) for item in items[start : start + size]], "total_size": len(items)}
    if start + size < len(items):
        page["next_page_token"] = base64.b64encode(str(start + size).encode()).decode()
    return page if items else {}


def _pipeline_text(content: object) -> str:
    import yaml

    if not isinstance(content, bytes):
        raise ApiError(400, "Failed to read pipeline from file")
    try:
        first = next(yaml.safe_load_all(content.decode()))
        named = bool(first["pipelineInfo"]["name"])
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, StopIteration):
        named = False
    if not named:
        raise ApiError(400, "Failed to create a pipeline version: unknown template format")
    return content.decode()


def _shown_version(version: Json) -> Json:
    import yaml

    documents = [*yaml.safe_load_all(version["content"])]
    spec = documents[0]
    if len(documents) > 1:
        spec = {"pipeline_spec": documents[0], "platform_spec": documents[1]}
    shown = {key: value for key, value in version.items() if key != "content"}
    return shown | {"pipeline_spec": spec}


def _spec_of(run: Json) -> Json:
    return run["pipeline_spec"].get("pipeline_spec", run["pipeline_spec"])


def carry_out(folder: Path) -> None:
    """In a process of its own: run a pipeline here; prints a line of JSON for each step that ends.

    The steps get the run's id as on a cluster. What only a cluster reads is left out, and retries:
    a test does not wait for them.

    Args:
        folder: with job.json; the run's artifacts and logs are written there.
    """
    import yaml
    from google.protobuf import json_format
    from kfp import dsl, local
    from kfp.local import pipeline_orchestrator, subprocess_task_handler
    from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec

    from modelloop.kubeflow import cluster, warm
    from modelloop.project import Project

    job = json.loads((folder / "job.json").read_text())
    content = job["content"].replace(dsl.PIPELINE_JOB_ID_PLACEHOLDER, job["run_id"])
    spec = json_format.ParseDict(next(yaml.safe_load_all(content)), PipelineSpec())
    cluster.forget_retries(spec)
    out, sys.stdout = sys.stdout, sys.stderr

    def report(step: warm.StepResult) -> None:
        if not step.succeeded:
            sys.stderr.write(step.log.read_text())
        ended = {
            "name": step.name.split()[0],
            "seconds": step.seconds,
            "state": "SUCCEEDED" if step.succeeded else "FAILED",
        }
        print(json.dumps(ended), file=out, flush=True)

    def end(*_: object) -> None:
        runner.stop()
        sys.exit(1)

    warm.start_importing(Project.at(Path(job["repository"])))
    runner = warm.WarmRunner(folder, report)
    subprocess_task_handler.run_local_subprocess = runner
    local.init(
        runner=local.SubprocessRunner(use_venv=False),
        pipeline_root=str(folder / "artifacts"),
        workspace_root=str(folder / "workspace"),
    )
    signal.signal(signal.SIGTERM, end)
    try:
        pipeline_orchestrator.run_local_pipeline(spec, job["parameters"])
    finally:
        runner.close()


@contextmanager
def _until_signal() -> Iterator[None]:
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    yield
    ended.wait()


def main() -> None:
    """Serve, or execute one job."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int, nargs="?", default=0)
    parser.add_argument("--execute", type=Path, help="the repository whose runs are executed")
    parser.add_argument("--final-state", default="", help="the state that other runs end in")
    parser.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.job:
        carry_out(chosen.job)
        return
    server = KubeflowServer(chosen.port, execute=chosen.execute, final_state=chosen.final_state)
    with server, _until_signal():
        print(server.url, flush=True)


if __name__ == "__main__":
    main()
