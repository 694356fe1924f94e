"""One run on Kubeflow: wait for its end, and read the gate's decision."""

import sys
import time
from collections.abc import Set

import kfp_server_api as kfp
import mlflow
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec
from mlflow.exceptions import MlflowException

from modelloop.contract.contract import FILE_NAME, Contract
from modelloop.errors import UserError
from modelloop.kubeflow.api import Api, NotFoundError, TransientError
from modelloop.project import Project
from modelloop.registry import runs, versions
from modelloop.registry.store import connect, tracking_uri

ENDS = ("SUCCEEDED", "FAILED", "SKIPPED", "CANCELED")
POLL = 5.0  # seconds between two requests
PATIENCE = 300.0  # seconds that Kubeflow may be unavailable


def page(api: Api, run_id: str) -> str:
    """The address of the run's page."""
    return api.link(f"runs/details/{run_id}")


def steps(pipeline: PipelineSpec) -> set[str]:
    """The names of a pipeline's steps; Kubeflow also lists groups and helpers as tasks."""
    return {
        name
        for group in (pipeline.root, *pipeline.components.values())
        for name, task in group.dag.tasks.items()
        if pipeline.components[task.component_ref.name].executor_label
    }


def wait(api: Api, run_id: str, names: Set[str]) -> None:
    """Wait until the run has succeeded; prints a line for each of the named steps that ends.

    Raises:
        UserError: it ended otherwise, was removed, or Kubeflow was unavailable for too long.
    """
    try:
        run = _last_state(api, run_id, names)
    except (KeyboardInterrupt, SystemExit):
        print(f"\nThe run goes on: `make runs`, {page(api, run_id)}", file=sys.stderr)
        raise
    if run.state != "SUCCEEDED":
        failed = next((task for task in _tasks(run, names) if task.state == "FAILED"), None)
        error = (failed and failed.error) or run.error
        raise UserError(
            f"the run has {run.state}"
            + (f" in the step {failed.display_name}" if failed else "")
            + (f": {error.message}" if error and error.message else "")
            + f"; its logs: {page(api, run_id)}"
        )


def decision(project: Project, run_id: str) -> Contract | None:
    """The gate's decision, as the run's steps have logged it to MLflow.

    Returns:
        The contract, with its version where it was registered; None, with a warning, when this
        machine does not find it in MLflow.
    """
    try:
        client = connect(project)
        found = runs.find(project, run_id)
        if found:
            runs.tag_reason(project, found)
            version = client.get_run(found).data.tags.get("version")
            if version:
                return versions.contract(project, version)
            text = mlflow.artifacts.load_text(f"runs:/{found}/{FILE_NAME}")
            return Contract.model_validate_json(text)
        why = "it has no run of that"
    except MlflowException as error:
        why = str(error).replace(tracking_uri(project), project.shown_tracking_uri)
    print(
        f"warning: the gate's decision is not known here, and model.json is not written. MLflow "
        f"({project.shown_tracking_uri}) was asked: {why}. "
        "MLFLOW_TRACKING_URI has to be the cluster's",
        file=sys.stderr,
    )
    return None


def _last_state(api: Api, run_id: str, names: Set[str]) -> kfp.V2beta1Run:
    printed: set[str] = set()
    unavailable_since = None
    while True:
        try:
            run = api.call(api.runs.run_service_get_run, run_id)
        except NotFoundError as error:
            raise UserError(f"run {run_id} was removed while it was waited for") from error
        except TransientError as error:
            if unavailable_since is None:
                unavailable_since = time.monotonic()
                print(f"  {error}; waiting goes on", file=sys.stderr, flush=True)
            elif time.monotonic() - unavailable_since > PATIENCE:
                raise UserError(
                    f"{error}, for {PATIENCE / 60:.0f} minutes. The run goes on: "
                    f"{page(api, run_id)}"
                ) from error
        except UserError as error:
            raise UserError(f"{error}. The run goes on: {page(api, run_id)}") from error
        else:
            unavailable_since = None
            for task in _tasks(run, names):
                if task.state in ENDS and task.task_id not in printed:
                    printed.add(task.task_id)
                    seconds = (task.end_time - task.start_time).total_seconds()
                    print(f"  {task.state:<9} {task.display_name:<20} {seconds:6.1f} s", flush=True)
            if run.state in ENDS:
                return run
        time.sleep(POLL)


def _tasks(run: kfp.V2beta1Run, names: Set[str]) -> list[kfp.V2beta1PipelineTaskDetail]:
    details = (run.run_details and run.run_details.task_details) or []
    return [each for each in details if each.display_name in names]
