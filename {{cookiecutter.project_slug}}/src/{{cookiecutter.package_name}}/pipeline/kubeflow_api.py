"""Ask Kubeflow Pipelines. Every fault of it ends as a sentence that says what to do."""

import json
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import urllib3
from kfp.client import Client, ServiceAccountTokenVolumeCredentials
from kfp_server_api import ApiException

from ..addresses import without_credentials
from ..errors import UserError
from ..settings import Settings

TIMEOUT = (10.0, 30.0)  # seconds to connect, and to answer
TOKEN, COOKIE, CERTIFICATES = "KFP_TOKEN_FILE", "KFP_COOKIE_FILE", "KFP_CA_FILE"


class PassingError(UserError):
    """Kubeflow cannot be reached, or has a trouble of its own: later it may answer."""


class GoneError(UserError):
    """Kubeflow does not know what was asked for."""


class Api:
    """Kubeflow's API, with the credentials of the settings.

    Attributes:
        namespace: an argument for what is made or listed in one; empty where Kubeflow has one user.
        pipelines: the generated client's functions for pipelines and their versions; the others are
            those for uploads, experiments, runs and schedules.
    """

    def __init__(self, env: Settings) -> None:
        """Prepare; nothing is asked yet.

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
        logging.getLogger("urllib3").setLevel(logging.ERROR)  # it tells of each time it asks again
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Kubeflow before 2.0
            client = Client(
                host=self._url,
                # With a name it asks and writes nothing by itself. Requests name their namespace.
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

    def ask(self, call: Callable, *arguments: object, **options: object) -> Any:
        """Call one function of the API, such as runs.run_service_get_run.

        Args:
            call: the function.
            *arguments: its own.
            **options: its own.

        Raises:
            PassingError: later it may work.
            GoneError: there is no such thing.
            UserError: Kubeflow refuses.
        """
        could_not = f"could not {call.__name__.split('_service_')[-1].replace('_', ' ')}"
        try:
            answer = call(*arguments, _request_timeout=TIMEOUT, **options)
        except ApiException as error:
            raise self._refusal(could_not, error) from error
        except urllib3.exceptions.HTTPError as error:
            cause = getattr(error, "reason", None) or error
            raise self._silence(could_not, cause) from error
        except OSError as error:
            raise UserError(f"{TOKEN}={self._files.get(TOKEN)}: {error.strerror}") from error
        kind = call.__self__.api_client.last_response.getheader("Content-Type") or ""
        if "json" not in kind:  # the client takes such a page for an answer without content
            raise UserError(
                f"{could_not}: {self._url} (KFP_URL) answers with a web page, not as Kubeflow "
                f"Pipelines; where that is a login page: {self._credentials()}"
            )
        return answer

    def every(self, call: Callable, field: str, **options: object) -> Iterator[Any]:
        """All items of a list, page by page."""
        token = ""
        while True:
            page = self.ask(call, page_token=token, page_size=100, **options)
            yield from getattr(page, field) or []
            token = page.next_page_token
            if not token:
                return

    def _credentials(self) -> str:
        given = [f"{name}={self._files[name]}" for name in (TOKEN, COOKIE) if name in self._files]
        if given:
            return f"{' and '.join(given)}: expired, or of somebody else"
        return f"set {TOKEN} or {COOKIE}"

    def _silence(self, could_not: str, cause: Exception) -> UserError:
        if isinstance(cause, urllib3.exceptions.SSLError):
            hint = f"{CERTIFICATES} names the certificates that vouch for it"
            return UserError(f"{could_not}: {self._url} (KFP_URL): {cause}; {hint}")
        return PassingError(f"{could_not}: {self._url} (KFP_URL) does not answer: {cause}")

    def _refusal(self, could_not: str, error: ApiException) -> UserError:
        said = _said(error)
        if error.status == 401:
            return UserError(f"Kubeflow does not know who asks (401): {self._credentials()}")
        if error.status == 403:
            where = f"KFP_NAMESPACE={self.namespace.get('namespace', '')}"
            return UserError(
                f"{could_not} (403): {said}. There may be no such namespace ({where}); else "
                f"{self._credentials()}"
            )
        if error.status >= 500 or error.status == 429:
            return PassingError(f"{could_not}: Kubeflow answers {error.status}: {said}")
        kind = GoneError if error.status == 404 else UserError
        return kind(f"{could_not}: Kubeflow answers {error.status}: {said}")


def equals(name: str) -> str:
    """The filter for things of one name."""
    found = {"operation": "EQUALS", "key": "display_name", "string_value": name}
    return json.dumps({"predicates": [found]})


def _read(name: str, path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{name}={path}: cannot be read: {error}") from error
    if not text or (name != CERTIFICATES and not (text.isascii() and text.isprintable())):
        raise UserError(f"{name}={path}: one line of ASCII text is needed")
    return text


def _said(error: ApiException) -> str:
    """Kubeflow's own words, or the name of the status: a proxy's page may hold anything."""
    try:
        body = json.loads(error.body or "")
        text = body.get("message") or body.get("error") or body.get("error_message")
    except (ValueError, AttributeError):
        text = None
    return " ".join(str(text or error.reason).split())[:300]
