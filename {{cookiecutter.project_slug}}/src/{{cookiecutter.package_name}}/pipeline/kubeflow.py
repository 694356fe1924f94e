"""Kubeflow Pipelines: upload versions of the pipelines, run one, schedule one, look at the runs."""

import hashlib
import sys
from datetime import UTC, datetime
from functools import cache

import kfp_server_api as kfp
from kfp.dsl.base_component import BaseComponent

from .. import model_reference, project
from ..contract import Contract
from ..errors import UserError
from ..settings import ROOT, Settings
from . import compiled, cron, kubeflow_run
from .batch import scoring
from .definition import training
from .kubeflow_api import Api, GoneError, PassingError, equals

SCHEDULE = training.name  # its name
EXPERIMENT = project.SLUG  # what Kubeflow shows the runs under
SHOWN = 10  # runs


def upload(env: Settings) -> None:
    """Upload both pipelines as versions of this commit.

    Raises:
        UserError: the code is not that of a commit, or Kubeflow does not take them.
    """
    _demand_commit(env, "upload")
    api = Api(env)
    for pipeline in (training, scoring):
        _upload(api, env, pipeline)


def submit(env: Settings) -> Contract | None:
    """Train on the cluster: upload this code's version, run it, wait for its end.

    Returns:
        The contract with the gate's decision; None when MLflow cannot be asked for it from here.

    Raises:
        UserError: the run did not succeed, or Kubeflow does not answer.
    """
    api = Api(env)
    model_reference.PATH.unlink(missing_ok=True)  # it would be taken for that of this run
    if not env.is_committed:
        print(f"warning: {env.tag} is no commit: what runs cannot be had again", file=sys.stderr)
    version = _upload(api, env, training)
    body = kfp.V2beta1Run(
        display_name=f"{version.display_name} {datetime.now(UTC):%Y-%m-%d %H:%M:%S}",
        **_of(api, version),
    )
    try:
        run = api.ask(api.runs.run_service_create_run, body)
    except PassingError as error:
        raise UserError(f"{error}; `make runs` shows whether it was started") from error
    print(f'Run "{run.display_name}", {run.run_id}')
    print(kubeflow_run.page(api, run.run_id), flush=True)
    kubeflow_run.wait(api, run.run_id, kubeflow_run.steps(training.pipeline_spec))
    return kubeflow_run.decision(env, run.run_id)


def schedule(env: Settings, when: str) -> None:
    """Let Kubeflow train by itself, with this commit; takes the place of an older schedule.

    Args:
        env: where Kubeflow is.
        when: the five fields of a crontab, or "off".

    Raises:
        UserError: CRON is no schedule, the code is not that of a commit, or Kubeflow refuses.
    """
    fields = "" if when.strip().lower() == "off" else cron.with_seconds(when)
    if fields:
        _demand_commit(env, "schedule")
    api = Api(env)
    old = _schedules(api)
    if fields:
        version = _upload(api, env, training)
        body = kfp.V2beta1RecurringRun(
            display_name=SCHEDULE,
            trigger=kfp.V2beta1Trigger(cron_schedule=kfp.V2beta1CronSchedule(cron=fields)),
            mode="ENABLE",
            max_concurrency="1",
            no_catchup=True,
            **_of(api, version),
        )
        made = api.ask(api.schedules.recurring_run_service_create_recurring_run, body)
        print(f"Schedule {_cron(made)}, version {version.display_name}")
        print(api.link(f"recurringrun/details/{made.recurring_run_id}"))
    # Last, so that there is one at any time. What a broken attempt left goes with them.
    for each in old:
        try:
            api.ask(api.schedules.recurring_run_service_delete_recurring_run, each.recurring_run_id)
        except GoneError:
            continue
        print(f"Removed the schedule {_cron(each)}, {each.recurring_run_id}")
    if not fields:
        print(f"{SCHEDULE} has no schedule.")


def runs(env: Settings) -> None:
    """Print the last runs and the schedule.

    Raises:
        UserError: Kubeflow does not answer.
    """
    api = Api(env)
    experiment = _experiment(api)
    if experiment is None:
        print("No run yet: make submit")
        return

    @cache
    def name(pipeline_id: str, version_id: str) -> str:
        get = api.pipelines.pipeline_service_get_pipeline_version
        try:
            return api.ask(get, pipeline_id, version_id).display_name
        except GoneError:
            return "removed"

    def version(of: kfp.V2beta1Run | kfp.V2beta1RecurringRun) -> str:
        found = of.pipeline_version_reference
        return name(found.pipeline_id, found.pipeline_version_id) if found else "none"

    listed = api.ask(
        api.runs.run_service_list_runs,
        experiment_id=experiment,
        sort_by="created_at desc",
        page_size=SHOWN,
    )
    row = "{:<36}  {:<38}  {:<9}  {:<16}  {:>7}  {}"
    print(row.format("id", "name", "state", "started (UTC)", "minutes", "version"))
    for run in listed.runs or []:
        end = run.finished_at if run.state in kubeflow_run.ENDS else datetime.now(UTC)
        minutes = f"{(end - run.created_at).total_seconds() / 60:.1f}"
        started, state = f"{run.created_at:%Y-%m-%d %H:%M}", run.state or "PENDING"
        print(row.format(run.run_id, run.display_name, state, started, minutes, version(run)))
    for each in _schedules(api):
        print(f"Schedule {_cron(each)}, {each.status.lower()}, version {version(each)}")


def _demand_commit(env: Settings, verb: str) -> None:
    if not env.is_committed:
        raise UserError(
            f"{verb}: this code is {env.tag}, which is no commit, so others could not tell what "
            "runs: commit your changes; `make submit` tries them out"
        )


def _upload(api: Api, env: Settings, pipeline: BaseComponent) -> kfp.V2beta1PipelineVersion:
    """This code's version of a pipeline: made, or found where it has the same content.

    What a name stands for never changes: a work tree with other changes, or another
    PIPELINE_IMAGE, makes a name of its own.
    """
    file = compiled.write(pipeline, ROOT / "build" / f"{pipeline.name}.yaml")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    pipeline_id = _pipeline(api, pipeline.name)
    for name in (env.tag, f"{env.tag}-{digest[:8]}"):
        listing = api.pipelines.pipeline_service_list_pipeline_versions
        options = {"pipeline_id": pipeline_id, "filter": equals(name)}
        found = next(api.every(listing, "pipeline_versions", **options), None)
        if found is None:
            print(f"Uploading {pipeline.name}, version {name}", flush=True)
            return api.ask(
                api.uploads.upload_pipeline_version,
                str(file),
                name=name,
                display_name=name,
                pipelineid=pipeline_id,
                description=f"commit {env.commit}, sha256 {digest}",
            )
        if digest in (found.description or ""):
            print(f"{pipeline.name}, version {name} is in Kubeflow", flush=True)
            return found
    raise UserError(f"{pipeline.name}, version {name} was changed in Kubeflow: remove it there")


def _pipeline(api: Api, name: str) -> str:
    listing = api.pipelines.pipeline_service_list_pipelines
    found = next(api.every(listing, "pipelines", filter=equals(name), **api.namespace), None)
    body = kfp.V2beta1Pipeline(name=name, display_name=name, **api.namespace)
    made = found or api.ask(api.pipelines.pipeline_service_create_pipeline, body)
    return made.pipeline_id


def _experiment(api: Api) -> str | None:
    listing = api.experiments.experiment_service_list_experiments
    options = {"filter": equals(EXPERIMENT), **api.namespace}
    return next((each.experiment_id for each in api.every(listing, "experiments", **options)), None)


def _of(api: Api, version: kfp.V2beta1PipelineVersion) -> dict[str, object]:
    """What a run and a schedule of a version have in common."""
    body = kfp.V2beta1Experiment(display_name=EXPERIMENT, **api.namespace)
    create = api.experiments.experiment_service_create_experiment
    return {
        "experiment_id": _experiment(api) or api.ask(create, body).experiment_id,
        "pipeline_version_reference": kfp.V2beta1PipelineVersionReference(
            pipeline_id=version.pipeline_id, pipeline_version_id=version.pipeline_version_id
        ),
        "runtime_config": kfp.V2beta1RuntimeConfig(parameters={}),
    }


def _schedules(api: Api) -> list[kfp.V2beta1RecurringRun]:
    experiment = _experiment(api)
    if experiment is None:
        return []
    listing = api.schedules.recurring_run_service_list_recurring_runs
    options = {"filter": equals(SCHEDULE), "experiment_id": experiment}
    return list(api.every(listing, "recurring_runs", **options))


def _cron(schedule: kfp.V2beta1RecurringRun) -> str:
    by = schedule.trigger and schedule.trigger.cron_schedule
    return f'"{by.cron.removeprefix("0 ")}" (UTC)' if by else "of another kind"
