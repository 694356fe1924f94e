"""gunicorn's processes around uvicorn's HTTP server.

gunicorn forks the workers from the process that has loaded the model, replaces one that dies and
stops them all; uvicorn reads HTTP. A gRPC server, where there is one, shares the worker's event
loop. A comment gives the reason of each setting that is not their default. Written for gunicorn 27
and uvicorn 0.54.
"""

import asyncio
import gc
import itertools
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import uvicorn
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.workers import base
from prometheus_client.multiprocess import mark_process_dead
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from modelloop.serving import rest
from modelloop.serving.predictor import Refusal

logger = logging.getLogger(__name__)

# Longer than clients and proxies keep an idle connection, so that none is closed under a request.
KEEP_ALIVE_SECONDS = 75
# That requests have to end in a stopping worker; Seldon's operator allows 10 s after preStop.
GRACE_SECONDS = 7
# That idle connections stay open then, because a request may be on its way.
LINGER_SECONDS = 0.5
# Within which the head of a request must be complete.
HEAD_SECONDS = 5
HEAD_BYTES = 64 * 1024
BACKLOG = 2048

STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT}


class Stoppable(Protocol):
    """A server that shares the event loop, such as grpc.aio's."""

    async def stop(self, grace: float) -> None:
        """Refuse new requests; running ones have `grace` seconds to end."""


@dataclass(frozen=True)
class Service:
    """The work of a worker.

    Attributes:
        http: the ASGI application.
        start_rpc: starts the gRPC server, None where there is none.
        check: raises unless the model answers its golden rows in this process.
        enter: called in a new worker with its number, which no other living worker has.
    """

    http: rest.App
    start_rpc: Callable[[], Awaitable[Stoppable]] | None
    check: Callable[[], None]
    enter: Callable[[int], None]


def run(service: Service, listeners: list[socket.socket], workers: int) -> None:
    """Serve on listening sockets until a signal; ends by SystemExit.

    What this process has loaded so far is shared by all workers.
    """
    # Of a single request uvicorn logs only faults of the client, which the response names.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    os.register_at_fork(before=_hold_signals, after_in_parent=_take_signals)
    # What is loaded by now never becomes garbage. Where the collector leaves it out, the workers
    # share its memory, and end three times as fast.
    gc.freeze()
    options = {
        "bind": [f"fd://{listener.detach()}" for listener in listeners],
        "workers": workers,
        "worker_class": Worker,
        "pre_fork": _number,
        "child_exit": _forget_gauges,
        "graceful_timeout": GRACE_SECONDS + 1,
        "control_socket_disable": True,
        "loglevel": "warning",
    }
    _Gunicorn(service, options).run()


class _Gunicorn(BaseApplication):
    """gunicorn with options from here, none from a command line or a file."""

    def __init__(self, service: Service, options: dict[str, object]) -> None:
        self._service = service
        self._options = options
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Service:
        """Called by each worker before it serves; an error here ends the whole server."""
        self._service.check()
        return self._service


class Worker(base.Worker):
    """A process of gunicorn that runs one event loop.

    Attributes:
        number: the smallest one that no living worker had when this one was forked.
    """

    number: int

    def run(self) -> None:
        """Serve until a signal comes or the master has ended."""
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        service: Service = self.wsgi
        service.enter(self.number)
        try:
            rpc = await service.start_rpc() if service.start_rpc else None
        except Exception:
            # The next worker would fail, too: end the server instead of an endless restart.
            logger.exception("the gRPC server cannot start")
            sys.exit(Arbiter.WORKER_BOOT_ERROR)
        config = uvicorn.Config(
            service.http,
            http=HttpProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=GRACE_SECONDS,
            # Also how many connections a turn of the loop accepts: the rest is for other workers.
            backlog=1,
            callback_notify=self._beat,
            timeout_notify=1,
        )
        self._server = HttpServer(config, service.http, rpc)
        loop = asyncio.get_running_loop()
        for stop_signal in STOP_SIGNALS:
            loop.add_signal_handler(stop_signal, self._stop)
        _take_signals()
        await self._server.serve([listener.sock for listener in self.sockets])

    def _stop(self) -> None:
        self._server.should_exit = True

    async def _beat(self) -> None:
        """Show the master that this process is alive, and stop where the master is not."""
        self.notify()
        if os.getppid() != self.ppid:
            self._stop()


class HttpServer(uvicorn.Server):
    """uvicorn's server, stopped so that requests that have reached it are answered."""

    def __init__(self, config: uvicorn.Config, app: rest.App, rpc: Stoppable | None) -> None:
        """Serve `app`, and stop `rpc` with it."""
        super().__init__(config)
        self._app = app
        self._rpc = rpc

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the worker."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and restore the queue of connections that uvicorn has shortened to `backlog`."""
        await super().startup(sockets)
        for listener in sockets or []:
            listener.listen(BACKLOG)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuse new connections, answer the last requests on the old ones, close them."""
        self._app.stopping = True
        rpc = asyncio.create_task(self._rpc.stop(GRACE_SECONDS)) if self._rpc else None
        for server in self.servers:
            server.close()
        loop = asyncio.get_running_loop()
        end = loop.time() + LINGER_SECONDS
        while self.server_state.connections and loop.time() < end:
            await asyncio.sleep(0.05)
        await super().shutdown(sockets)
        if rpc:
            await rpc


class HttpProtocol(HttpToolsProtocol):
    """One HTTP connection, with limits for a request's head, which uvicorn does not have."""

    def connection_made(  # type: ignore[override]  # as uvicorn has it
        self, transport: asyncio.Transport
    ) -> None:
        """Limit the wait for the first request like that for the next ones, as uvicorn does not."""
        super().connection_made(transport)
        self._in_head = False
        self._head_bytes = 0
        self._head_end: asyncio.TimerHandle | None = None
        self.timeout_keep_alive_task = self.loop.call_later(
            KEEP_ALIVE_SECONDS, self.timeout_keep_alive_handler
        )

    def data_received(self, data: bytes) -> None:
        """Parse the bytes; a head that has begun must be complete in time."""
        of_head = self._in_head or self.cycle is None  # else they may be the end of a body
        super().data_received(data)
        if not self._in_head:
            if self._head_end:
                self._head_end.cancel()
                self._head_end = None
                self._head_bytes = 0
            return
        self._head_bytes += len(data) if of_head else 0
        if self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self._refuse(Refusal(431, "HEAD_TOO_LARGE", f"the head is over {HEAD_BYTES} bytes"))
        elif not self._head_end:
            self._head_end = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def on_message_begin(self) -> None:
        """Called by the parser."""
        super().on_message_begin()
        self._in_head = True

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        self._in_head = False
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Called for bytes that are no HTTP."""
        self._refuse(Refusal(400, "BAD_HTTP", msg))

    def _refuse(self, refusal: Refusal) -> None:
        response = rest.refused(refusal)
        head = (
            f"HTTP/1.1 {refusal.status} {refusal.reason}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(response.body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + response.body)
        self.transport.close()


def _number(arbiter: Arbiter, worker: Worker) -> None:
    taken = {other.number for other in arbiter.WORKERS.values()}
    worker.number = next(number for number in itertools.count() if number not in taken)


def _forget_gauges(_: Arbiter, worker: Worker) -> None:
    """Remove a dead worker from the team's own gauges; see the modes of prometheus_client."""
    mark_process_dead(worker.pid)


def _hold_signals() -> None:
    """Hold signals back while a worker is forked: until it has handlers, it would lose them."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)


def _take_signals() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
