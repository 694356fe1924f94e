"""gunicorn's processes, so that they start with the loaded model and all stop within seconds.

Written for gunicorn 27. Each setting that is not one of its options says what it steps around.
"""

import gc
import os
import signal
import socket
import struct
from collections.abc import Callable
from types import FrameType

from gunicorn.workers import base, gthread
from seldon_core.gunicorn_utils import StandaloneApplication

from ..settings import Settings

# Longer than clients and proxies keep an idle connection, so that none is closed under a request.
KEEP_ALIVE_SECONDS = 75
# What a stopping worker gives its requests; Seldon's operator allows 10 s after its preStop wait.
GRACE_SECONDS = 8
# A client that stops sending half-way holds a thread that long, and no longer.
READ_SECONDS = 5
# What a stopping worker gives idle connections whose client may be sending just now.
gthread.STOP_KEEPALIVE_LINGER = 1.0
# How long a new connection may hold a thread without sending anything.
gthread.DEFAULT_WORKER_DATA_TIMEOUT = 0.5

STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT}


def run(app: Callable, listeners: list[socket.socket], settings: Settings) -> None:
    """Serve a WSGI application on listening sockets until a signal; ends by SystemExit.

    What this process has loaded so far is shared by all workers.
    """
    for listener in listeners:
        # Linux and macOS hand it on to the connections.
        listener.setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", READ_SECONDS, 0)
        )
    options = {
        "bind": [f"fd://{listener.detach()}" for listener in listeners],
        "workers": settings.serve_workers,
        "threads": settings.serve_threads,
        "worker_class": Worker,
        "post_worker_init": _take_signals,
        "keepalive": KEEP_ALIVE_SECONDS,
        "graceful_timeout": GRACE_SECONDS,
        "control_socket_disable": True,
        "loglevel": "warning",
    }
    os.register_at_fork(before=_hold_signals, after_in_parent=_take_signals)
    # What is loaded is never garbage: not looked through again, the workers share its memory, and
    # end three times as fast.
    gc.freeze()
    StandaloneApplication(app, options).run()


class Worker(gthread.ThreadWorker):
    """gunicorn's threaded worker, mended where it would stop late or not at all."""

    def handle_quit(self, number: int, frame: FrameType | None) -> None:
        """Ctrl-C stops as SIGTERM does.

        gunicorn's own handler takes a lock of the thread pool, and waits for ever when the signal
        comes while this thread holds it to hand over a request.
        """
        self.handle_exit(number, frame)

    def murder_pending(self) -> None:
        """Close connections that have sent nothing: after a time, and at once when stopping."""
        if not self.alive:
            for connection in self.pending_conns:
                connection.timeout = 0.0
        super().murder_pending()


def _hold_signals() -> None:
    """A new worker would take a signal for the master's, and lose it, until it has handlers."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)


def _take_signals(_: base.Worker | None = None) -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
