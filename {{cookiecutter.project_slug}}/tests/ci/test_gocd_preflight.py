import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from {{ cookiecutter.package_name }}.settings import ROOT

SCRIPT = ROOT / "ci" / "gocd_preflight.py"
(CONFIG,) = (ROOT / "ci").glob("*.gocd.yaml")


class Handler(BaseHTTPRequestHandler):
    """GoCD's answers: see its API's page on preflight checks of configuration repositories."""

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got = {"path": self.path, "headers": dict(self.headers), "body": body}
        if self.headers["Authorization"] != "bearer s3cr3t":
            self._answer(401, {"message": "Invalid Personal Access Token."})
        elif self.headers["Accept"] != "application/vnd.go.cd.v1+json":
            self._answer(404, {"message": "The url you are trying to reach appears incorrect."})
        else:
            self._answer(200, {"errors": self.server.errors, "valid": not self.server.errors})

    def _answer(self, status: int, answer: dict) -> None:
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


@pytest.fixture
def gocd() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.errors = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def token(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text("s3cr3t\n")
    return file


def check(**variables: str | Path) -> subprocess.CompletedProcess[str]:
    given = {name: str(value) for name, value in variables.items()}
    return subprocess.run(
        [sys.executable, SCRIPT, CONFIG],
        env={k: v for k, v in os.environ.items() if not k.startswith("GOCD_")} | given,
        capture_output=True,
        text=True,
        timeout=60,
    )


def address(gocd: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{gocd.server_address[1]}"


def test_the_file_is_sent_to_the_plugin_of_gocd(gocd: ThreadingHTTPServer, token: Path):
    done = check(GOCD_URL=address(gocd), GOCD_TOKEN_FILE=token)
    assert (done.returncode, done.stderr) == (0, "")
    assert gocd.got["path"].endswith("/preflight?pluginId=yaml.config.plugin")
    assert b'name="files[]"' in gocd.got["body"]
    assert CONFIG.read_bytes() in gocd.got["body"]


def test_the_faults_that_the_server_finds_are_shown(gocd: ThreadingHTTPServer, token: Path):
    gocd.errors = ["Pipeline 'x' has no stages"]
    done = check(GOCD_URL=address(gocd), GOCD_TOKEN_FILE=token)
    assert done.returncode == 1
    assert "Pipeline 'x' has no stages" in done.stderr


def test_a_wrong_token_is_said_and_not_shown(gocd: ThreadingHTTPServer, token: Path):
    token.write_text("0th3r")
    done = check(GOCD_URL=address(gocd), GOCD_TOKEN_FILE=token)
    assert done.returncode == 1
    assert "answers 401: " in done.stderr
    assert "0th3r" not in done.stderr + done.stdout


def test_a_server_that_is_not_there_is_named(token: Path):
    done = check(GOCD_URL="http://127.0.0.1:1", GOCD_TOKEN_FILE=token)
    assert done.returncode == 1
    assert "127.0.0.1" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_not_set_is_named():
    done = check(GOCD_URL="http://127.0.0.1:1")
    assert done.returncode == 2
    assert done.stderr.startswith("needed: GOCD_TOKEN_FILE")
