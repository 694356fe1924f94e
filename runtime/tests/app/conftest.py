"""Servers that the demo is pointed at, and a wire between them that can be cut."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from modelloop import Project
from modelloop.testing import servers

Serve = Callable[[Path], str]


@pytest.fixture(scope="session")
def serve(
    project: Project, serve_python: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Serve]:
    """Serve the model in a folder; the same folder is served once. Gives the address."""
    urls: dict[Path, str] = {}
    with ExitStack() as stack:

        def served(folder: Path) -> str:
            if folder not in urls:
                log = tmp_path_factory.mktemp("served") / "server.log"
                server = stack.enter_context(servers.running(project, serve_python, folder, log))
                urls[folder] = f"http://127.0.0.1:{server.port}"
            return urls[folder]

        yield served


class Wire:
    """Passes connections on to a server until it is cut."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.left: int | None = None  # connections that are still passed on; None: all
        self.silent = False  # takes requests, and never answers
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._held: list[socket.socket] = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for held in self._held:
            held.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                near, _ = self._listener.accept()
                if self.silent:
                    self._held.append(near)
                elif self.left == 0:
                    near.close()
                else:
                    if self.left:
                        self.left -= 1
                    far = socket.create_connection(("127.0.0.1", int(self.target.split(":")[2])))
                    for pair in ((near, far), (far, near)):
                        threading.Thread(target=_pass_on, args=pair, daemon=True).start()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):  # the other way has closed both
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@pytest.fixture
def wire() -> Iterator[Callable[[str], Wire]]:
    """Wires that are closed in the end."""
    with ExitStack() as stack:

        @contextmanager
        def made(target: str) -> Iterator[Wire]:
            found = Wire(target)
            yield found
            found.close()

        yield lambda target: stack.enter_context(made(target))
