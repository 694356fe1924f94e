"""What the DAGs ask of Kubeflow Pipelines, over its REST API."""

import json
import logging
import re
from typing import Any

import httpx
from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowException, AirflowFailException

logger = logging.getLogger(__name__)

ENDED_BADLY = ("FAILED", "CANCELED", "SKIPPED")
SECONDS = 30  # how long Kubeflow may be silent


class PassingError(AirflowException):
    """Kubeflow cannot answer just now."""


class Kubeflow:
    """Kubeflow Pipelines, where the Airflow connection `kubeflow` says that it is."""

    def __init__(self) -> None:
        connection = BaseHook.get_connection("kubeflow")
        self._url = (connection.host or "").rstrip("/")
        if not re.match("https?://.", self._url):
            raise AirflowFailException(
                f"connection kubeflow: host is {self._url!r}; allowed: http(s)://name[:port][/path]"
            )
        self._token = connection.password
        namespace = connection.extra_dejson.get("namespace")
        self._namespace = {"namespace": namespace} if namespace else {}

    def start(self, pipeline: str, experiment: str, name: str, arguments: dict[str, Any]) -> str:
        """Start a pipeline's newest version, unless a run of this name lives or has succeeded.

        Returns:
            The id of the run.

        Raises:
            AirflowException: Kubeflow cannot answer just now, or refuses the token.
            AirflowFailException: there is no such pipeline, or Kubeflow will never do it.
        """
        version = self._newest_version(pipeline)
        named = {"display_name": experiment} | self._namespace
        found = self._named("experiments", experiment, **self._namespace)
        group = found[0] if found else self._ask("POST", "experiments", json=named)
        run = {"experiment_id": group["experiment_id"]}
        for other in self._named("runs", name, **run):
            of = other.get("pipeline_version_reference", {}).get("pipeline_id")
            if of == version["pipeline_id"] and other.get("state") not in ENDED_BADLY:
                logger.info("it was started before: %s", self._page(other["run_id"]))
                return other["run_id"]
        run |= {"display_name": name, "pipeline_version_reference": version}
        run |= {"runtime_config": {"parameters": arguments}}
        run_id = self._ask("POST", "runs", json=run)["run_id"]
        logger.info("started %s", self._page(run_id))
        return run_id

    def succeeded(self, run_id: str, step: str) -> bool:
        """Say whether a run has succeeded, this step included; False while that is open.

        Raises:
            AirflowException: Kubeflow refuses the token.
            AirflowFailException: it will not succeed any more; the message says why.
        """
        try:
            run = self._ask("GET", f"runs/{run_id}")
        except PassingError as error:
            logger.warning("%s", error)
            return False
        state, page = run.get("state"), self._page(run_id)
        steps = (run.get("run_details") or {}).get("task_details") or []
        if state in ENDED_BADLY:
            failed = [s.get("display_name") for s in steps if s.get("state") == "FAILED"]
            reason = (run.get("error") or {}).get("message") or "Kubeflow gives no reason"
            raise AirflowFailException(f"{page} is {state}: {reason}; failed steps: {failed}")
        done = [s.get("display_name") for s in steps if s.get("state") == "SUCCEEDED"]
        if state == "SUCCEEDED" and steps and step not in done:
            raise AirflowFailException(
                f"{page} never came to {step}: the gate rejected the candidate, MLflow says why"
            )
        return state == "SUCCEEDED"

    def _newest_version(self, pipeline: str) -> dict[str, str]:
        for found in self._named("pipelines", pipeline, **self._namespace)[:1]:
            path = f"pipelines/{found['pipeline_id']}/versions"
            newest = {"sort_by": "created_at desc", "page_size": "100"}
            for version in self._ask("GET", path, params=newest).get("pipeline_versions") or []:
                if "-dirty" not in version["display_name"]:  # of somebody's `make submit`
                    logger.info("%s: version %s", pipeline, version["display_name"])
                    return {key: version[key] for key in ("pipeline_id", "pipeline_version_id")}
        raise AirflowFailException(f"no pipeline {pipeline} at {self._url}: run `make upload`")

    def _named(self, kind: str, name: str, **where: str) -> list[dict[str, Any]]:
        equal = {"operation": "EQUALS", "key": "display_name", "string_value": name}
        where |= {"filter": json.dumps({"predicates": [equal]}), "page_size": "100"}
        return self._ask("GET", kind, params=where).get(kind) or []

    def _ask(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        address = f"{self._url}/apis/v2beta1/{path}"
        try:
            answer = httpx.request(method, address, headers=headers, timeout=SECONDS, **options)
            if answer.is_success:
                return answer.json()
        except (httpx.TransportError, ValueError) as error:
            raise PassingError(f"no answer from Kubeflow at {self._url}: {error!r}") from error
        said = f"Kubeflow answered {method} {address}: {answer.status_code} {answer.text[:300]!r}"
        said = said.replace(self._token or "\0", "...")  # there are pages that repeat the request
        if answer.status_code in (401, 403):
            raise AirflowException(f"{said}; the password of the connection kubeflow is the token")
        passing = answer.status_code in (408, 409, 429) or answer.status_code >= 500
        raise (PassingError if passing else AirflowFailException)(said)

    def _page(self, run_id: str) -> str:
        return f"{self._url}/#/runs/details/{run_id}"
