"""What a command starts is waited for, and ends with it."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from modelloop import subprocesses
from modelloop.errors import UserError
from modelloop.testing.servers import wait_until

SERVER = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1"]
# A verb of the command line that starts a server.
PARENT = f"""
import os, pathlib, signal
from modelloop import subprocesses
from modelloop.cli import main

@main.command()
def parent():
    log = pathlib.Path(os.devnull)
    with subprocesses.running("a server", {SERVER} + ["%d"], "http://127.0.0.1:%d/", log):
        print("ready", flush=True)
        signal.pause()

main(["parent"])
"""


def listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def test_a_program_runs_as_long_as_the_block(tmp_path):
    (port,) = subprocesses.free_ports(1)
    url = f"http://127.0.0.1:{port}/"
    with subprocesses.running("a server", [*SERVER, str(port)], url, tmp_path / "log", tmp_path):
        assert subprocesses.answers(url)
        assert not subprocesses.answers(url + "nothing")
    assert not listening(port)
    assert "GET /nothing" in (tmp_path / "log").read_text()


def test_the_reason_of_a_program_that_ends_is_its_last_output(tmp_path):
    command = [sys.executable, "-c", "print('no disk'); raise SystemExit(3)"]
    with (
        pytest.raises(UserError, match=r"a server ended with code 3: .*no disk"),
        subprocesses.running("a server", command, "http://127.0.0.1:9/", tmp_path / "log"),
    ):
        pass


def test_a_program_that_is_missing_is_named():
    with (
        pytest.raises(UserError, match="there is no /nowhere/python"),
        subprocesses.running("a server", [Path("/nowhere/python")], "http://127.0.0.1:9/"),
    ):
        pass


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_command_that_is_ended_ends_what_it_started(stop):
    (port,) = subprocesses.free_ports(1)
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT % (port, port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with parent:
        assert parent.stdout.readline() == "ready\n"
        assert listening(port)
        parent.send_signal(stop)
        try:
            wait_until(lambda: parent.poll() is not None, "the command has ended")
        finally:
            parent.kill()
    assert not listening(port)
