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
PAGE = 100


class PassingError(UserError):
    """Kubeflow cannot be reached, or has a trouble of its own: later it may answer."""


class GoneError(UserError):
    """Kubeflow does not know what was asked for."""


class Api:
    """Kubeflow's API, with the credentials of the settings.

    Attributes:
        pipelines: the generated client's functions for pipelines and their versions; the others
            are those for uploads, runs, schedules and experiments.
    """

    def __init__(self, env: Settings) -> None:
        """Prepare; nothing is asked yet.

        Raises:
            UserError: a setting is missing, or names a file that cannot be read.
        """
        self._env = env
        self._url = without_credentials(env.kfp_url).rstrip("/")
        if not env.kfp_url:
            raise UserError("KFP_URL is not set: the address of Kubeflow Pipelines is needed")
        if not env.kfp_url.startswith(("http://", "https://")) or "@" in env.kfp_url:
            raise UserError(
                f"KFP_URL={self._url}: an address with http:// or https:// and without user and "
                "password is needed; credentials are in KFP_TOKEN_FILE or KFP_COOKIE_FILE"
            )
        for name, path in self._files().items():
            _read(name, path)
        token, cookie, ca = self._files().values()
        logging.getLogger("urllib3").setLevel(logging.ERROR)  # it tells of each time it asks again
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            client = Client(
                host=self._url,
                # With a name it asks and writes nothing by itself. Requests name their namespace.
                namespace="given-by-each-request",
                credentials=ServiceAccountTokenVolumeCredentials(str(token)) if token else None,
                cookies=_read("KFP_COOKIE_FILE", cookie),
                ssl_ca_cert=str(ca) if ca else None,
            )
        self.pipelines, self.uploads = client.pipelines, client.pipeline_uploads
        self.runs, self.schedules = client.runs, client.recurring_runs
        self.experiments = client.experiments

    @property
    def namespace(self) -> dict[str, str]:
        """The argument of requests that need the namespace, where there is one."""
        return {"namespace": self._env.kfp_namespace} if self._env.kfp_namespace else {}

    def link(self, page: str) -> str:
        """The address of a page for people."""
        return f"{self._url}/#/{page}"

    def ask(self, to: str, call: Callable, *arguments: object, **options: object) -> Any:
        """Call one function of the API.

        Args:
            to: what it does, for messages, such as "upload the pipeline".
            call: the function.
            *arguments: its own.
            **options: its own.

        Raises:
            PassingError: later it may work.
            GoneError: there is no such thing.
            UserError: Kubeflow refused it.
        """
        try:
            answer = call(*arguments, _request_timeout=TIMEOUT, **options)
        except ApiException as error:
            raise self._refusal(to, error) from error
        except urllib3.exceptions.HTTPError as error:
            cause = getattr(error, "reason", None) or error
            if isinstance(cause, urllib3.exceptions.SSLError):
                raise UserError(f"{self._url}: {cause}; KFP_CA_FILE names certificates") from error
            raise PassingError(
                f"could not {to}: {self._url} (KFP_URL) does not answer: {cause}"
            ) from error
        except OSError as error:
            raise UserError(f"KFP_TOKEN_FILE={self._env.kfp_token_file}: {error}") from error
        kind = call.__self__.api_client.last_response.getheader("Content-Type") or ""
        if "json" not in kind:  # the client takes such a page for an answer without content
            raise UserError(
                f"could not {to}: {self._url} (KFP_URL) answers with a web page, not as Kubeflow "
                f"Pipelines; where that is a login page: {self._credentials()}"
            )
        return answer

    def every(self, to: str, call: Callable, field: str, **options: object) -> Iterator[Any]:
        """All items of a list, page by page."""
        token = ""
        while True:
            page = self.ask(to, call, page_token=token, page_size=PAGE, **options)
            yield from getattr(page, field) or []
            token = page.next_page_token
            if not token:
                return

    def _files(self) -> dict[str, Path | None]:
        env = self._env
        return {
            "KFP_TOKEN_FILE": env.kfp_token_file,
            "KFP_COOKIE_FILE": env.kfp_cookie_file,
            "KFP_CA_FILE": env.kfp_ca_file,
        }

    def _credentials(self) -> str:
        (token, path), (cookie, other), _ = self._files().items()
        given = [f"{name}={file}" for name, file in ((token, path), (cookie, other)) if file]
        if given:
            return f"{' and '.join(given)}: expired, or of somebody else"
        return f"set {token} or {cookie}"

    def _refusal(self, to: str, error: ApiException) -> UserError:
        said = _said(error)
        if error.status == 401:
            return UserError(f"Kubeflow does not know who asks (401): {self._credentials()}")
        if error.status == 403:
            where = f"the namespace KFP_NAMESPACE={self._env.kfp_namespace}"
            return UserError(
                f"Kubeflow does not let you {to} (403) in {where}: {said}. There may be no such "
                f"namespace; else {self._credentials()}"
            )
        if error.status >= 500 or error.status == 429:
            return PassingError(f"could not {to}: Kubeflow answers {error.status}: {said}")
        kind = GoneError if error.status == 404 else UserError
        return kind(f"could not {to}: Kubeflow answers {error.status}: {said}")


def equals(name: str) -> str:
    """The filter for things of one name."""
    found = {"operation": "EQUALS", "key": "display_name", "string_value": name}
    return json.dumps({"predicates": [found]})


def _read(name: str, path: Path | None) -> str:
    if path is None:
        return ""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{name}={path}: cannot be read: {error}") from error
    if not text:
        raise UserError(f"{name}={path}: the file is empty")
    return text


def _said(error: ApiException) -> str:
    """Kubeflow's own words, or the name of the status: a proxy's page may hold anything."""
    try:
        body = json.loads(error.body or "")
        text = body.get("message") or body.get("error") or body.get("error_message")
    except (ValueError, AttributeError):
        text = None
    return " ".join(str(text or error.reason).split())[:300]
