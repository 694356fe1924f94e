"""A server of webhooks: whole requests in, whole responses out, behind uvicorn.

For Alertmanager's few and small notifications, and the metrics of what receives them; the model
server has its own processes and limits (serving/processes.py). HTTP is read by h11, which both
environments have. A connection takes one request. A client that is slow with it delays no other,
and is disconnected.
"""

import asyncio
import json
import logging
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

logger = logging.getLogger(__name__)

READ_SECONDS = 5.0  # within which a request's head must be complete, and then its body
BODY_BYTES = 1024 * 1024
JSON = "application/json"


@dataclass(frozen=True)
class Request:
    """A request that is complete.

    Attributes:
        client: the address that it came from.
        headers: by name in lower case.
    """

    client: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Response:
    """What goes back to the client."""

    status: int
    body: bytes = b""
    kind: str = JSON


class RefusedError(Exception):
    """A request that is not served; the message says why, to the client and in the log."""

    def __init__(self, status: int, message: str) -> None:
        """The status is the response's."""
        super().__init__(message)
        self.status = status


Respond = Callable[[Request], Awaitable[Response]]


def listen(host: str, port: int) -> socket.socket:
    """Open a port; connections to it wait until a server takes them.

    Raises:
        OSError: the address is taken or cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=128)


class Server(uvicorn.Server):
    """Calls `respond` for each request, in one event loop; the listener is closed in the end."""

    def __init__(self, respond: Respond, listener: socket.socket) -> None:
        """Serve nothing yet: requests wait at the listener."""
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # of requests, we log refusals
        self._respond = respond
        self._listener = listener
        super().__init__(
            uvicorn.Config(
                self._serve_one,
                interface="asgi3",
                loop="asyncio",
                http=_Connection,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
            )
        )

    def serve_until_signal(self) -> None:
        """Serve until SIGTERM or Ctrl-C, then finish the requests that have begun."""
        self.run([self._listener])

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Serve in a thread until the block ends, and finish the requests that have begun."""
        thread = threading.Thread(target=self.run, args=([self._listener],))
        thread.start()
        try:
            yield
        finally:
            self._stop()
            thread.join()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on a signal; uvicorn's own would raise it again in the end."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, self._stop)
        yield

    def _stop(self) -> None:
        self.should_exit = True

    async def _serve_one(self, scope: Any, receive: Any, send: Any) -> None:
        """The ASGI application."""
        client = scope["client"][0] if scope["client"] else "a client that has gone"
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            body = await _read(receive)
            request = Request(client, scope["method"], scope["path"], headers, body)
            response = await self._respond(request)
        except RefusedError as refusal:
            logger.warning("%d to %s: %s", refusal.status, client, refusal)
            response = Response(refusal.status, json.dumps({"error": str(refusal)}).encode())
        sent = {
            "content-type": response.kind,
            "content-length": str(len(response.body)),
            "connection": "close",
        }
        pairs = [(name.encode(), value.encode()) for name, value in sent.items()]
        await send({"type": "http.response.start", "status": response.status, "headers": pairs})
        await send({"type": "http.response.body", "body": response.body})


class _Connection(H11Protocol):
    """A connection with a limit to the time of a request's head, which uvicorn has not."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.loop.call_later(READ_SECONDS, self._end_head)

    def _end_head(self) -> None:
        if self.cycle or self.transport.is_closing():
            return
        begun, _ = self.conn.trailing_data
        if begun:
            self.send_400_response("the head of the request is not complete")
        else:
            self.transport.close()


async def _read(receive: Any) -> bytes:
    """The body of a request.

    One that is too large is read to its end all the same: a client that is disconnected while it
    sends does not see the response.
    """
    body, size, is_complete = bytearray(), 0, False
    with suppress(TimeoutError):
        async with asyncio.timeout(READ_SECONDS):
            while not is_complete:
                message = await receive()
                if message["type"] == "http.disconnect":
                    break
                size += len(message["body"])
                if size <= BODY_BYTES:
                    body += message["body"]
                is_complete = not message["more_body"]
    if size > BODY_BYTES:
        raise RefusedError(413, f"the body is over {BODY_BYTES} bytes: set max_alerts")
    if not is_complete:
        raise RefusedError(408, "the body did not come")
    return bytes(body)
