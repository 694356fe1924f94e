"""An HTTP client for services that answer in JSON: GoCD, Prometheus, the model server.

It is `requests` with what these calls have in common. A request always has a timeout. One to this
machine never goes through a proxy of the environment. Redirects are not followed: they lead to a
login page, or turn a POST into a GET. Certificates that the system trusts are trusted. No error's
text holds a password or a token.
"""

import functools
import ipaddress
import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from typing import Any
from urllib.parse import unquote, urlsplit

import requests
import requests.adapters
import urllib3

from modelloop.addresses import without_credentials

SECONDS = 10.0  # how long a server may be silent
HIDDEN = "..."  # in the place of a secret

# Each of these comes before the first byte of a request is sent.
_NOT_SENT = (
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
    urllib3.exceptions.ProxyError,
    ssl.SSLCertVerificationError,
)


class HttpError(Exception):
    """A request without the response that was wanted; its text is fit for logs.

    Attributes:
        url: the address, without credentials and query string.
        status: the status of the response; 0 where there was none.
        reason: what is wrong, in a few words, such as `Connection refused`.
        text: the body of the response, without the secrets of the request.
        is_sent: whether the server may have received the request.
    """

    def __init__(
        self, url: str, reason: str, *, status: int = 0, text: str = "", is_sent: bool = True
    ) -> None:
        """The address is shown as it is: give one without credentials."""
        says_why = status >= 400 and text and not _is_html(text)
        answer = f"{url} answers {status}: {text if says_why else reason}"
        super().__init__(answer if status else f"no answer from {url} ({reason})")
        self.url = url
        self.status = status
        self.reason = reason
        self.text = text
        self.is_sent = is_sent


def call(url: str, body: object = None, **options: Any) -> Any:
    """Send a request, and return the JSON of its response; see `send`.

    Raises:
        HttpError: there is no response, its status is not 2xx, or it is not JSON.
    """
    return json_of(send(url, body, **options))


def send(
    url: str,
    body: object = None,
    *,
    parameters: Mapping[str, str | float] | None = None,
    headers: Mapping[str, str] | None = None,
    authorization: str = "",
    seconds: float = SECONDS,
    connection: requests.Session | None = None,
) -> requests.Response:
    """Send a GET request or, with a body, a POST request; read the whole response.

    Args:
        url: an http or https address; it may hold a user and a password.
        body: bytes of JSON, or what JSON can hold.
        parameters: the query string.
        headers: further headers.
        authorization: the header of this name, such as `Bearer <token>`.
        seconds: how long the server may be silent, while connecting and after it.
        connection: what `connect` returned, to send several requests over one connection.

    Raises:
        HttpError: there is no response, or its status is not 2xx.
    """
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    given = {"Content-Type": "application/json"} if data is not None else {}
    with nullcontext(connection) if connection else connect(url) as session:
        try:
            response = session.request(
                "GET" if data is None else "POST",
                url,
                params=parameters,
                data=data,
                headers={**given, **(headers or {})},
                # As a callable, or a user's .netrc would take its place.
                auth=functools.partial(_authorize, authorization) if authorization else None,
                timeout=seconds,
                allow_redirects=False,
            )
        except (OSError, ValueError, urllib3.exceptions.HTTPError) as error:
            # Not chained: requests' message of an address or a header quotes it.
            raise _no_response(url, error) from None
    if response.is_redirect:
        target = without_credentials(response.headers["Location"])
        raise _failure(response, f"a redirect to {target}, which is not followed")
    if not 200 <= response.status_code < 300:
        raise _failure(response, response.reason or "an error")
    return response


def json_of(response: requests.Response) -> Any:
    """The JSON of a response.

    Raises:
        HttpError: it is not JSON.
    """
    try:
        return json.loads(response.content)
    except ValueError as error:
        text = response.content.decode(errors="replace")
        found = "an HTML page, perhaps of a login" if _is_html(text) else "no JSON"
        raise _failure(response, f"{found}, where JSON is expected") from error


def connect(url: str) -> requests.Session:
    """Open a connection that is kept between the requests of one thread; close it in the end."""
    session = requests.Session()
    session.trust_env = not _is_this_machine(url)
    if url.startswith("https:"):
        session.mount("https://", _SystemTrust())
    return session


class _SystemTrust(requests.adapters.HTTPAdapter):
    """Trusts the certificates of the system (SSL_CERT_FILE), beside those of requests."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, ssl_context=ssl.create_default_context(), **options)

    def proxy_manager_for(self, proxy: str, **options: Any) -> urllib3.ProxyManager:
        context = ssl.create_default_context()
        return super().proxy_manager_for(proxy, ssl_context=context, **options)


def _authorize(value: str, request: requests.PreparedRequest) -> requests.PreparedRequest:
    request.headers["Authorization"] = value
    return request


def _is_this_machine(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name, or no address
        return False


def _is_html(text: str) -> bool:
    return text.lstrip()[:20].lower().startswith(("<!doctype", "<html"))


def _failure(response: requests.Response, reason: str) -> HttpError:
    text = response.content.decode(errors="replace").strip()
    for secret in _secrets(response.request):
        text = text.replace(secret, HIDDEN)  # there are pages that repeat the request
    shown = without_credentials(response.url)
    return HttpError(shown, reason, status=response.status_code, text=text)


def _secrets(request: requests.PreparedRequest) -> Iterator[str]:
    _, _, credentials = request.headers.get("Authorization", "").partition(" ")
    if credentials:
        yield credentials
    password = urlsplit(request.url or "").password
    if password:
        yield from (password, unquote(password))


def _no_response(url: str, error: Exception) -> HttpError:
    try:
        shown = without_credentials(url)
    except ValueError:
        shown = HIDDEN
    if isinstance(error, ValueError):  # its text quotes what is wrong
        return HttpError(shown, "the address, or a header, is not valid", is_sent=False)
    causes = [*_causes(error)]
    innermost = causes[-1]
    reason = getattr(innermost, "strerror", None) or str(innermost) or type(innermost).__name__
    is_sent = not any(isinstance(cause, _NOT_SENT) for cause in causes)
    return HttpError(shown, reason, is_sent=is_sent)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and from outside in what it wraps."""
    yield error
    wrapped = (getattr(error, "reason", None), *error.args, error.__cause__)
    inner = next((found for found in wrapped if isinstance(found, BaseException)), None)
    if inner:
        yield from _causes(inner)
