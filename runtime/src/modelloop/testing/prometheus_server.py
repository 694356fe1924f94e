"""A stand-in for Prometheus' API, with numbers of each version of the model."""

import json
import re
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

DEFAULT = {"requests": 1000.0, "errors": 0.0, "latency": 0.02}


@dataclass
class Prometheus:
    """Its answers, which a test sets, and the queries that came.

    Attributes:
        url: its address.
        numbers: requests, errors and latency by version; DEFAULT where a test sets none.
        queries: all that came.
        status: the HTTP status of its answers.
        authorization: the header of the last query.
    """

    url: str
    numbers: dict[str, dict[str, float]] = field(default_factory=dict)
    queries: list[str] = field(default_factory=list)
    status: int = 200
    authorization: str | None = None


@contextmanager
def running() -> Iterator[Prometheus]:
    """Answer on a free port of 127.0.0.1 until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            prometheus.authorization = self.headers.get("Authorization")
            (query,) = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)["query"]
            prometheus.queries.append(query)
            answer = {"status": "success", "data": _vector(prometheus, query)}
            body = json.dumps(answer).encode()
            self.send_response(prometheus.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    prometheus = Prometheus(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield prometheus
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _vector(prometheus: Prometheus, query: str) -> dict[str, Any]:
    (version,) = re.findall('model_version="([^"]*)"', query)
    numbers = DEFAULT | prometheus.numbers.get(version, {})
    if "by (bin)" in query:
        shares = {"a": 0.5, "b": 0.5}
        scale = 1.0 if "reference" in query else numbers["requests"]
        values = {bin_: share * scale for bin_, share in shares.items()}
    elif "histogram_quantile" in query:
        values = {"": numbers["latency"]}
    else:
        values = {"": numbers["errors" if "5.." in query else "requests"]}
    return {
        "resultType": "vector",
        "result": [
            {"metric": {"bin": bin_} if bin_ else {}, "value": [0, str(value)]}
            for bin_, value in values.items()
        ],
    }
