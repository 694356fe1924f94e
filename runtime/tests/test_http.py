"""The HTTP client: what is sent where, what an error says, and what it keeps to itself."""

import base64
import datetime
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from modelloop import http

ELSEWHERE = "model.example.com"  # no such host: only a proxy answers for it


@dataclass
class Service:
    """Gives one response to every request, and keeps the requests."""

    port: int
    status: int = 200
    body: str = '{"answer": 42}'  # in which AUTH stands for the request's Authorization header
    headers: dict[str, str] = field(default_factory=dict)
    seen: list[tuple[str, str, dict[str, str], str]] = field(default_factory=list)
    clients: set[int] = field(default_factory=set)  # the ports of connections

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/path"


@contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[Service]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # which keeps connections open

        def respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            service.clients.add(self.client_address[1])
            service.seen.append((self.command, self.path, dict(self.headers), body))
            text = service.body.replace("AUTH", self.headers.get("Authorization", "")).encode()
            self.send_response(service.status)
            for name, value in {**service.headers, "Content-Length": str(len(text))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = respond  # noqa: N815 - the names are the base class's

        def log_message(self, *_: object) -> None:
            """Requests are not logged."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        service = Service(server.server_port)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield service
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def service() -> Iterator[Service]:
    with serving() as running:
        yield running


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A proxy that the environment names for all addresses; it answers itself."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving() as running:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{running.port}")
        yield running


def failure(url: str, body: object = None, **options: object) -> http.HttpError:
    with pytest.raises(http.HttpError) as raised:
        http.call(url, body, **options)
    return raised.value


def test_json_goes_out_and_comes_in(service):
    given = {"parameters": {"query": "a b"}, "headers": {"X-A": "b"}}
    assert http.call(service.url, {"rows": [1]}, **given) == {"answer": 42}
    ((method, path, headers, body),) = service.seen
    assert (method, path, json.loads(body)) == ("POST", "/path?query=a+b", {"rows": [1]})
    assert (headers["Content-Type"], headers["X-A"]) == ("application/json", "b")


def test_without_a_body_it_is_a_get(service):
    assert http.call(service.url) == {"answer": 42}
    assert service.seen[0][0] == "GET"


def test_an_error_has_the_status_and_the_words_of_the_server(service):
    service.status, service.body = 422, '{"error": "no such row"}'
    error = failure(service.url)
    assert (error.status, error.text, error.is_sent) == (422, '{"error": "no such row"}', True)
    assert str(error) == f'{service.url} answers 422: {{"error": "no such row"}}'


def test_a_redirect_is_an_error_that_names_its_target(service):
    service.status = 302
    service.headers = {"Location": "https://login.example.com/start?state=s3cret"}
    error = failure(service.url)
    assert error.status == 302
    assert "a redirect to https://login.example.com/start, which is not followed" in str(error)
    assert len(service.seen) == 1


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("\n<!DOCTYPE html><title>Sign in</title>", "an HTML page, perhaps of a login, where JSON"),
        ("<html>Sign in</html>", "an HTML page, perhaps of a login, where JSON is expected"),
        ("pong", "no JSON, where JSON is expected"),
        ("", "no JSON, where JSON is expected"),
    ],
)
def test_what_is_no_json_is_an_error_that_says_so(service, body, reason):
    service.body = body
    error = failure(service.url)
    assert (error.status, error.text) == (200, body.strip())
    assert reason in str(error)


def test_a_page_of_an_error_is_not_repeated(service):
    service.status, service.body = 502, "<html>a long page of a proxy</html>"
    assert str(failure(service.url)) == f"{service.url} answers 502: Bad Gateway"


# Whether the server may have received a request


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def test_a_refused_connection_is_certainly_not_sent():
    error = failure(f"http://127.0.0.1:{closed_port()}/", {"start": 1})
    assert (error.status, error.reason, error.is_sent) == (0, "Connection refused", False)


def test_a_connection_that_does_not_come_about_in_time_is_certainly_not_sent():
    with ExitStack() as stack, socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        while True:  # until the queue is full, and the kernel drops what comes
            client = stack.enter_context(socket.socket())
            client.settimeout(0.3)
            try:
                client.connect(full.getsockname())
            except TimeoutError:
                break
        error = failure(f"http://127.0.0.1:{full.getsockname()[1]}/", {"start": 1}, seconds=0.3)
    assert (error.status, error.reason, error.is_sent) == (0, "timed out", False)


def test_a_request_without_an_answer_may_have_been_received():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        error = failure(url, {"start": 1}, seconds=0.3)
    assert (error.status, error.reason, error.is_sent) == (0, "timed out", True)
    assert str(error) == f"no answer from {url} (timed out)"


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 202 Accepted\r\nContent-Length: 9\r\n\r\nhalf"])
def test_a_request_whose_answer_breaks_off_may_have_been_received(answer):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def break_off() -> None:
            connection, _ = server.accept()
            connection.recv(65536)
            connection.sendall(answer)
            connection.close()

        thread = threading.Thread(target=break_off)
        thread.start()
        error = failure(f"http://127.0.0.1:{server.getsockname()[1]}/", {"start": 1})
        thread.join()
    assert (error.status, error.is_sent) == (0, True)


@pytest.mark.parametrize("url", ["localhost:9000", "ftp://127.0.0.1/", "http://[::1/", "http://"])
def test_what_is_no_address_is_certainly_not_sent(url):
    error = failure(url)
    assert (error.status, error.is_sent) == (0, False)
    assert "the address, or a header, is not valid" in str(error)


# Proxies


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1.2.3"])
def test_this_machine_is_never_reached_through_a_proxy(proxy, service, host):
    url = f"http://{host}:{service.port}/path"
    if host == "127.1.2.3":  # nothing listens there
        assert failure(url).reason == "Connection refused"
    else:
        assert http.call(url) == {"answer": 42}
    assert proxy.seen == []


def test_other_machines_are_reached_through_the_proxy(proxy):
    assert http.call(f"http://{ELSEWHERE}/path") == {"answer": 42}
    assert proxy.seen[0][1] == f"http://{ELSEWHERE}/path"


def test_a_proxy_that_is_down_means_certainly_not_sent(proxy, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://user:s3cret@127.0.0.1:{closed_port()}")
    error = failure(f"http://{ELSEWHERE}/path", {"start": 1})
    assert (error.reason, error.is_sent) == ("Connection refused", False)
    assert "s3cret" not in str(error)


# Secrets


@pytest.mark.parametrize("body", ["denied: AUTH", "<html>denied: AUTH</html>"])
def test_a_token_is_in_no_text_of_an_error(service, body):
    service.status, service.body = 401, body
    error = failure(service.url, authorization="Bearer s3cret")
    assert service.seen[0][2]["Authorization"] == "Bearer s3cret"
    assert "Bearer ..." in error.text
    assert "s3cret" not in error.text + str(error)


def test_a_token_that_no_header_can_hold_is_in_no_text_of_an_error(service):
    for token in ("s3cret\r\nX-Other: 1", "s3cret\N{EURO SIGN}"):
        error = failure(service.url, authorization=f"Bearer {token}")
        assert not error.is_sent
        assert "s3cret" not in str(error)
    assert service.seen == []


def test_a_password_in_an_address_is_sent_and_in_no_text_of_an_error(service):
    service.status, service.body = 401, "denied: AUTH s3cret%2F s3cret/"
    url = f"http://user:s3cret%2F@127.0.0.1:{service.port}/path"
    credentials = base64.b64encode(b"user:s3cret/").decode()
    error = failure(url)
    assert service.seen[0][2]["Authorization"] == f"Basic {credentials}"
    assert str(error) == f"{service.url} answers 401: denied: Basic ... ... ..."


@pytest.mark.parametrize("url", ["http://user:s3cret@[::1/", "http://user:s3cret@127.0.0.1:9/"])
def test_a_password_in_an_address_without_an_answer_is_in_no_text_of_an_error(url):
    error = failure(url)
    assert "s3cret" not in str(error)
    assert error.__cause__ is None  # which would be shown in a traceback
    assert error.__suppress_context__


def test_a_token_comes_before_what_netrc_holds(proxy, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {ELSEWHERE} login user password other\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    http.call(f"http://{ELSEWHERE}/path", authorization="bearer s3cret")
    assert proxy.seen[0][2]["Authorization"] == "bearer s3cret"


# Certificates


def certificate(folder: Path) -> Path:
    """A certificate of a company's own for 127.0.0.1, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ip_address("127.0.0.1"))
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file = folder / "certificate.pem"
    file.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return file


def test_certificates_that_the_system_trusts_are_trusted(tmp_path, monkeypatch):
    file = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    with serving(context) as service:
        url = f"https://127.0.0.1:{service.port}/path"
        error = failure(url)
        assert ("certificate" in error.reason, error.is_sent) == (True, False)
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        assert http.call(url) == {"answer": 42}


def test_a_connection_takes_one_request_after_the_other(service):
    with http.connect(service.url) as connection:
        for row in range(3):
            http.call(service.url, {"row": row}, connection=connection)
    assert [json.loads(body)["row"] for *_, body in service.seen] == [0, 1, 2]
    assert len(service.clients) == 1
