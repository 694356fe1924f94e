"""Requests to Kubeflow Pipelines. Every error ends as a sentence that says what to do."""

import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import MethodType
from typing import Any

import urllib3
from kfp.client import Client, ServiceAccountTokenVolumeCredentials
from kfp_server_api import ApiException

from modelloop.addresses import without_credentials
from modelloop.errors import UserError
from modelloop.settings import Settings

TIMEOUT = (10.0, 30.0)  # seconds to connect, and to respond
TOKEN, COOKIE, CERTIFICATES = "KFP_TOKEN_FILE", "KFP_COOKIE_FILE", "KFP_CA_FILE"


class TransientError(UserError):
    """Kubeflow cannot be reached, or has an error of its own: a later retry may work."""


class NotFoundError(UserError):
    """Kubeflow has no such run, schedule, pipeline or version."""


class Api:
    """Kubeflow's API, with the credentials of the settings.

    Attributes:
        namespace: an argument for what is made or listed in one; empty where Kubeflow has one user.
        pipelines: the generated client's functions for pipelines and their versions; the other
            attributes are those for uploads, experiments, runs and schedules.
    """

    def __init__(self, env: Settings) -> None:
        """Prepare; no request is sent yet.

        Raises:
            UserError: a setting is missing, or names a file that cannot be used.
        """
        if not env.kfp_url:
            raise UserError("KFP_URL is not set: the address of Kubeflow Pipelines is needed")
        self._url = without_credentials(env.kfp_url).rstrip("/")
        if not self._url.startswith(("http://", "https://")) or "@" in env.kfp_url:
            raise UserError(
                f"KFP_URL={self._url}: http:// or https:// is needed, and no user and password in "
                f"it; credentials are in {TOKEN} or {COOKIE}"
            )
        self._files = {
            name: path
            for name, path in (
                (TOKEN, env.kfp_token_file),
                (COOKIE, env.kfp_cookie_file),
                (CERTIFICATES, env.kfp_ca_file),
            )
            if path
        }
        texts = {name: _read(name, path) for name, path in self._files.items()}
        token = TOKEN in texts and ServiceAccountTokenVolumeCredentials(str(env.kfp_token_file))
        logging.getLogger("urllib3").setLevel(logging.ERROR)  # it logs every retry
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Kubeflow before 2.0
            client = Client(
                host=self._url,
                # With a name the client sends no request and writes no file by itself. Requests
                # name their namespace.
                namespace="given-by-each-request",
                credentials=token or None,
                cookies=texts.get(COOKIE, ""),
                ssl_ca_cert=str(env.kfp_ca_file) if env.kfp_ca_file else None,
            )
        self.namespace = {"namespace": env.kfp_namespace} if env.kfp_namespace else {}
        self.pipelines, self.uploads = client.pipelines, client.pipeline_uploads
        self.runs, self.schedules = client.runs, client.recurring_runs
        self.experiments = client.experiments

    def link(self, page: str) -> str:
        """The address of a page for people."""
        return f"{self._url}/#/{page}"

    def call(self, function: MethodType, *arguments: object, **options: object) -> Any:
        """Call one function of the generated client, such as runs.run_service_get_run.

        Args:
            function: the function.
            *arguments: its own.
            **options: its own.

        Raises:
            TransientError: a later retry may work.
            NotFoundError: Kubeflow does not have it.
            UserError: Kubeflow refuses.
        """
        verb = function.__name__.split("_service_")[-1].replace("_", " ")
        could_not = f"could not {verb}"
        try:
            response = function(*arguments, _request_timeout=TIMEOUT, **options)
        except ApiException as error:
            raise self._refusal(could_not, error) from error
        except urllib3.exceptions.HTTPError as error:
            cause = getattr(error, "reason", None) or error
            raise self._no_response(could_not, cause) from error
        except OSError as error:
            raise UserError(f"{TOKEN}={self._files.get(TOKEN)}: {error.strerror}") from error
        owner: Any = function.__self__
        kind = owner.api_client.last_response.getheader("Content-Type") or ""
        if "json" not in kind:  # the client treats such a page as an empty response
            raise UserError(
                f"{could_not}: {self._url} (KFP_URL) answers with a web page, not as Kubeflow "
                f"Pipelines; where that is a login page: {self._credentials()}"
            )
        return response

    def items(self, function: MethodType, field: str, **options: object) -> Iterator[Any]:
        """All items of a list, page by page.

        Raises:
            UserError: as `call`.
        """
        token = ""
        while True:
            page = self.call(function, page_token=token, page_size=100, **options)
            yield from getattr(page, field) or []
            token = page.next_page_token
            if not token:
                return

    def _credentials(self) -> str:
        given = [f"{name}={self._files[name]}" for name in (TOKEN, COOKIE) if name in self._files]
        if given:
            return f"{' and '.join(given)}: expired, or of somebody else"
        return f"set {TOKEN} or {COOKIE}"

    def _no_response(self, could_not: str, cause: Exception) -> UserError:
        if isinstance(cause, urllib3.exceptions.SSLError):
            hint = f"{CERTIFICATES} names the certificates that vouch for it"
            return UserError(f"{could_not}: {self._url} (KFP_URL): {cause}; {hint}")
        return TransientError(f"{could_not}: {self._url} (KFP_URL) does not answer: {cause}")

    def _refusal(self, could_not: str, error: ApiException) -> UserError:
        message = _message(error)
        if error.status == 401:
            return UserError(f"Kubeflow does not know who asks (401): {self._credentials()}")
        if error.status == 403:
            where = f"KFP_NAMESPACE={self.namespace.get('namespace', '')}"
            return UserError(
                f"{could_not} (403): {message}. There may be no such namespace ({where}); else "
                f"{self._credentials()}"
            )
        if error.status >= 500 or error.status == 429:
            return TransientError(f"{could_not}: Kubeflow answers {error.status}: {message}")
        kind = NotFoundError if error.status == 404 else UserError
        return kind(f"{could_not}: Kubeflow answers {error.status}: {message}")


def named(name: str) -> str:
    """The filter for things of one name."""
    predicate = {"operation": "EQUALS", "key": "display_name", "string_value": name}
    return json.dumps({"predicates": [predicate]})


def _read(name: str, path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{name}={path}: cannot be read: {error}") from error
    if not text or (name != CERTIFICATES and not (text.isascii() and text.isprintable())):
        raise UserError(f"{name}={path}: one line of ASCII text is needed")
    return text


def _message(error: ApiException) -> str:
    """Kubeflow's own message, or the name of the status: a proxy's page may hold anything."""
    try:
        body = json.loads(error.body or "")
        text = body.get("message") or body.get("error") or body.get("error_message")
    except (ValueError, AttributeError):
        text = None
    return " ".join(str(text or error.reason).split())[:300]
