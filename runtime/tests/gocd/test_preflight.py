"""`modelloop gocd-preflight` lets a GoCD server check the pipeline files."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from modelloop import Project
from modelloop.cli import main


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


@pytest.fixture
def config(project: Project) -> Path:
    (file,) = (project.root / "ci").glob("*.gocd.yaml")
    return file


@pytest.fixture
def check(config: Path) -> Callable[..., Result]:
    """Run the verb; variables that are not given are not set."""

    def run(gocd_url: str = "", gocd_token_file: str | Path = "") -> Result:
        variables = {"GOCD_URL": gocd_url, "GOCD_TOKEN_FILE": str(gocd_token_file)}
        return CliRunner(env=variables).invoke(main, ["gocd-preflight", str(config)])

    return run


def address(gocd: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{gocd.server_address[1]}"


def test_the_file_is_sent_to_the_plugin_of_gocd(check, config, gocd, token):
    done = check(address(gocd), token)
    assert (done.exit_code, done.stderr) == (0, "")
    assert gocd.got["path"].endswith("/preflight?pluginId=yaml.config.plugin")
    assert b'name="files[]"' in gocd.got["body"]
    assert config.read_bytes() in gocd.got["body"]


def test_the_faults_that_the_server_finds_are_shown(check, gocd, token):
    gocd.errors = ["Pipeline 'x' has no stages"]
    done = check(address(gocd), token)
    assert done.exit_code == 1
    assert "Pipeline 'x' has no stages" in done.stderr


def test_a_wrong_token_is_an_error_that_does_not_show_it(check, gocd, token):
    token.write_text("0th3r")
    done = check(address(gocd), token)
    assert done.exit_code == 1
    assert "answers 401: " in done.stderr
    assert "0th3r" not in done.output


def test_a_server_that_is_not_there_is_named(check, token):
    done = check("http://127.0.0.1:1", token)
    assert done.exit_code == 1
    assert done.stderr.startswith("error: ")
    assert "127.0.0.1" in done.stderr


def test_what_is_not_set_is_named(check):
    done = check("http://127.0.0.1:1")
    assert done.exit_code == 1
    assert done.stderr.startswith("error: environment: GOCD_TOKEN_FILE: ")
