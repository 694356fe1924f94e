"""Subprocesses: programs that a command starts, waits for and stops."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from modelloop import http
from modelloop.errors import UserError

READY_SECONDS = 60.0
STOP_SECONDS = 10.0
LOG_LINES = 10  # of a program that does not start


@contextmanager
def running(
    name: str,
    command: Sequence[str | Path],
    ready: str,
    log: Path | None = None,
    folder: Path | None = None,
    **variables: str,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the block ends.

    Args:
        name: what people call it.
        command: the program and its arguments.
        ready: a URL that answers with a status of 2xx once the program is ready.
        log: where its output goes; None means this process's own output.
        folder: where it runs; None means where this process does.
        variables: environment variables, beside this process's own.

    Raises:
        UserError: it is not there, ends early, or is not ready in time.
    """
    with log.open("w") if log else nullcontext() as output:
        try:
            process = subprocess.Popen(
                command,
                env=os.environ | variables,
                cwd=folder,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for us; we stop it
            )
        except OSError as error:
            hint = "" if Path(command[0]).exists() else f"; there is no {command[0]}: `make setup`"
            raise UserError(f"{name} cannot be started: {error.strerror}{hint}") from error
    try:
        wait_until_ready(name, process, ready, log)
        yield process
    finally:
        stop(process)


def wait_until_ready(
    name: str, process: subprocess.Popen[bytes], ready: str, log: Path | None = None
) -> None:
    """Wait until a URL answers with a status of 2xx.

    Raises:
        UserError: the program ends, or is not ready in time.
    """
    end = time.monotonic() + READY_SECONDS
    while not answers(ready):
        ended = process.poll() is not None
        if ended or time.monotonic() > end:
            what = f"ended with code {process.returncode}" if ended else f"is not ready at {ready}"
            output = "see above"
            if log:
                output = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])
            raise UserError(f"{name} {what}: {output}")
        time.sleep(0.05)  # between two requests


def answers(url: str) -> bool:
    """Whether a URL answers with a status of 2xx."""
    try:
        http.send(url, seconds=5)
    except http.HttpError:
        return False
    return True


def stop(process: subprocess.Popen) -> None:
    """End a program; kill it where it does not end."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_ports(count: int) -> list[int]:
    """So many different ports of 127.0.0.1 that no program listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [taken.getsockname()[1] for taken in sockets]
    for taken in sockets:
        taken.close()
    return ports
