"""The load generator: it runs in a process of its own, which imports this module only."""

import re
import selectors
import socket
import threading
import time
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import cycle

import numpy as np

ANSWER_SECONDS = 30


@dataclass(frozen=True)
class Load:
    """What the load generator saw."""

    requests: int
    rate: float  # requests a second
    p50: float  # ms
    p99: float
    own_cpu: float  # ms a request


def load(port: int, requests: list[bytes], connections: int, seconds: float) -> Load:
    """Send requests in turns over each connection, the next when the last one's answer is there."""
    latencies = []
    following = cycle(requests)
    with selectors.DefaultSelector() as selector:
        for _ in range(connections):
            selector.register(Connection(port), selectors.EVENT_READ)
        cpu = time.process_time()
        begin = time.perf_counter()
        for key in selector.get_map().values():
            key.fileobj.ask(next(following))
        under_way = connections
        while under_way:
            ready = selector.select(ANSWER_SECONDS)
            if not ready:
                raise TimeoutError(f"no answer for {ANSWER_SECONDS} s")
            for key, _ in ready:
                connection = key.fileobj
                if connection.answered():
                    now = time.perf_counter()
                    latencies.append(now - connection.begin)
                    if now - begin < seconds:
                        connection.ask(next(following))
                    else:
                        under_way -= 1
        elapsed = time.perf_counter() - begin
        cpu = time.process_time() - cpu
        for key in selector.get_map().values():
            key.fileobj.close()
    p50, p99 = (1000 * float(value) for value in np.percentile(latencies, (50, 99)))
    n = len(latencies)
    return Load(n, n / elapsed, p50, p99, 1000 * cpu / n)


def measure_client(client: Executor, seconds: float) -> Load:
    """Find what the load generator can do at most: against an answer that is always ready."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 100
    requests = [message("/", b"x" * 200)]
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                with listener.accept()[0] as connection:
                    while connection.recv(1 << 16):
                        connection.sendall(answer)

        # A thread is enough: this process only waits meanwhile.
        threading.Thread(target=serve, daemon=True).start()
        port = listener.getsockname()[1]
        # The best of some: how fast two processes wake each other differs from try to try.
        tries = [client.submit(load, port, requests, 1, seconds / 4).result() for _ in range(5)]
        return max(tries, key=lambda one: one.rate)


def message(path: str, body: bytes) -> bytes:
    """Make an HTTP request."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Connection(socket.socket):
    """A kept connection with one request under way."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.connect(("127.0.0.1", port))
        self.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, request: bytes) -> None:
        """Send a request."""
        self.received = b""
        self.length = 0
        self.begin = time.perf_counter()
        self.sendall(request)

    def answered(self) -> bool:
        """Read what has come; whether the answer is complete.

        Raises:
            ValueError: the answer is not a 200, or of no known length.
            ConnectionError: the server closed the connection.

        """
        part = self.recv(1 << 18)
        if not part:
            raise ConnectionError("the server closed a connection under a request")
        self.received += part
        if not self.length and b"\r\n\r\n" in self.received:
            head = self.received.partition(b"\r\n\r\n")[0]
            found = re.match(rb"(?is)HTTP/1\.1 200 .*\r\ncontent-length: *(\d+)", head)
            if not found:
                raise ValueError(f"not a 200 with a Content-Length: {self.received[:500]!r}")
            self.length = len(head) + 4 + int(found[1])
        return 0 < self.length <= len(self.received)
