"""Upload versions of the pipelines to Kubeflow, run one, schedule one, show the runs."""

import hashlib
import sys
from datetime import UTC, datetime
from functools import cache

import kfp_server_api as kfp
from kfp.dsl.base_component import BaseComponent

from modelloop.contract.contract import Contract
from modelloop.errors import UserError
from modelloop.kubeflow import compiled, cron, run
from modelloop.kubeflow.api import Api, NotFoundError, TransientError, named
from modelloop.project import Project
from modelloop.registry import model_reference

SHOWN = 10  # runs


def upload(project: Project) -> None:
    """Upload both pipelines as versions of this commit.

    Raises:
        UserError: the code is not that of a commit, or Kubeflow refuses them.
    """
    _demand_commit(project, "upload")
    api = Api(project.settings)
    for pipeline in (project.pipeline.training, project.pipeline.scoring):
        _upload(api, project, pipeline)


def submit(project: Project) -> Contract | None:
    """Train on the cluster: upload this code's version, run it, wait for its end.

    Returns:
        The contract with the gate's decision; None when this machine does not find it in MLflow.

    Raises:
        UserError: the run did not succeed, or Kubeflow does not respond.
    """
    api = Api(project.settings)
    # An older one would be taken for that of this run.
    model_reference.path_of(project).unlink(missing_ok=True)
    if not project.is_committed:
        print(
            f"warning: {project.tag} is no commit: what runs cannot be had again", file=sys.stderr
        )
    version = _upload(api, project, project.pipeline.training)
    body = kfp.V2beta1Run(
        display_name=f"{version.display_name} {datetime.now(UTC):%Y-%m-%d %H:%M:%S}",
        **_common_fields(api, project, version),
    )
    try:
        started = api.call(api.runs.run_service_create_run, body)
    except TransientError as error:
        raise UserError(f"{error}; `make runs` shows whether it was started") from error
    print(f'Run "{started.display_name}", {started.run_id}')
    print(run.page(api, started.run_id), flush=True)
    run.wait(api, started.run_id, run.steps(project.pipeline.training.pipeline_spec))
    return run.decision(project, started.run_id)


def schedule(project: Project, when: str) -> None:
    """Let Kubeflow train by itself, with this commit; replaces an older schedule.

    Args:
        project: the repository.
        when: the five fields of a crontab, or "off".

    Raises:
        UserError: CRON is no schedule, the code is not that of a commit, or Kubeflow refuses.
    """
    fields = "" if when.strip().lower() == "off" else cron.with_seconds(when)
    if fields:
        _demand_commit(project, "schedule")
    api = Api(project.settings)
    old = _schedules(api, project)
    if fields:
        version = _upload(api, project, project.pipeline.training)
        body = kfp.V2beta1RecurringRun(
            display_name=_name(project),
            trigger=kfp.V2beta1Trigger(cron_schedule=kfp.V2beta1CronSchedule(cron=fields)),
            mode="ENABLE",
            max_concurrency="1",
            no_catchup=True,
            **_common_fields(api, project, version),
        )
        made = api.call(api.schedules.recurring_run_service_create_recurring_run, body)
        print(f"Schedule {_cron(made)}, version {version.display_name}")
        print(api.link(f"recurringrun/details/{made.recurring_run_id}"))
    # Last, so that there is one at any time. What a failed attempt left is removed with them.
    for each in old:
        try:
            api.call(
                api.schedules.recurring_run_service_delete_recurring_run, each.recurring_run_id
            )
        except NotFoundError:
            continue
        print(f"Removed the schedule {_cron(each)}, {each.recurring_run_id}")
    if not fields:
        print(f"{_name(project)} has no schedule.")


def runs(project: Project) -> None:
    """Print the last runs and the schedule.

    Raises:
        UserError: Kubeflow does not respond.
    """
    api = Api(project.settings)
    experiment = _experiment(api, project)
    if experiment is None:
        print("No run yet: make submit")
        return

    @cache
    def name(pipeline_id: str, version_id: str) -> str:
        get = api.pipelines.pipeline_service_get_pipeline_version
        try:
            return api.call(get, pipeline_id, version_id).display_name
        except NotFoundError:
            return "removed"

    def version(of: kfp.V2beta1Run | kfp.V2beta1RecurringRun) -> str:
        found = of.pipeline_version_reference
        return name(found.pipeline_id, found.pipeline_version_id) if found else "none"

    listed = api.call(
        api.runs.run_service_list_runs,
        experiment_id=experiment,
        sort_by="created_at desc",
        page_size=SHOWN,
    )
    row = "{:<36}  {:<38}  {:<9}  {:<16}  {:>7}  {}"
    print(row.format("id", "name", "state", "started (UTC)", "minutes", "version"))
    for each in listed.runs or []:
        end = each.finished_at if each.state in run.ENDS else datetime.now(UTC)
        minutes = f"{(end - each.created_at).total_seconds() / 60:.1f}"
        started, state = f"{each.created_at:%Y-%m-%d %H:%M}", each.state or "PENDING"
        print(row.format(each.run_id, each.display_name, state, started, minutes, version(each)))
    for planned in _schedules(api, project):
        print(f"Schedule {_cron(planned)}, {planned.status.lower()}, version {version(planned)}")


def _demand_commit(project: Project, verb: str) -> None:
    if not project.is_committed:
        raise UserError(
            f"{verb}: this code is {project.tag}, which is no commit, so others could not tell "
            "what runs: commit your changes; `make submit` tries them out"
        )


def _upload(api: Api, project: Project, pipeline: BaseComponent) -> kfp.V2beta1PipelineVersion:
    """This code's version of a pipeline: made, or found where it has the same content.

    What a name stands for never changes: a work tree with other changes, or another
    PIPELINE_IMAGE, makes a name of its own.
    """
    file = compiled.write(pipeline, project.build / f"{pipeline.name}.yaml")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    pipeline_id = _pipeline(api, pipeline.name)
    for name in (project.tag, f"{project.tag}-{digest[:8]}"):
        listing = api.pipelines.pipeline_service_list_pipeline_versions
        options = {"pipeline_id": pipeline_id, "filter": named(name)}
        found = next(api.items(listing, "pipeline_versions", **options), None)
        if found is None:
            print(f"Uploading {pipeline.name}, version {name}", flush=True)
            return api.call(
                api.uploads.upload_pipeline_version,
                str(file),
                name=name,
                display_name=name,
                pipelineid=pipeline_id,
                description=f"commit {project.commit}, sha256 {digest}",
            )
        if digest in (found.description or ""):
            print(f"{pipeline.name}, version {name} is in Kubeflow", flush=True)
            return found
    raise UserError(f"{pipeline.name}, version {name} was changed in Kubeflow: remove it there")


def _pipeline(api: Api, name: str) -> str:
    listing = api.pipelines.pipeline_service_list_pipelines
    found = next(api.items(listing, "pipelines", filter=named(name), **api.namespace), None)
    body = kfp.V2beta1Pipeline(name=name, display_name=name, **api.namespace)
    made = found or api.call(api.pipelines.pipeline_service_create_pipeline, body)
    return made.pipeline_id


def _experiment(api: Api, project: Project) -> str | None:
    listing = api.experiments.experiment_service_list_experiments
    options = {"filter": named(project.slug), **api.namespace}
    return next((each.experiment_id for each in api.items(listing, "experiments", **options)), None)


def _common_fields(
    api: Api, project: Project, version: kfp.V2beta1PipelineVersion
) -> dict[str, object]:
    """What a run and a schedule of a version have in common."""
    body = kfp.V2beta1Experiment(display_name=project.slug, **api.namespace)
    create = api.experiments.experiment_service_create_experiment
    return {
        "experiment_id": _experiment(api, project) or api.call(create, body).experiment_id,
        "pipeline_version_reference": kfp.V2beta1PipelineVersionReference(
            pipeline_id=version.pipeline_id, pipeline_version_id=version.pipeline_version_id
        ),
        "runtime_config": kfp.V2beta1RuntimeConfig(parameters={}),
    }


def _schedules(api: Api, project: Project) -> list[kfp.V2beta1RecurringRun]:
    experiment = _experiment(api, project)
    if experiment is None:
        return []
    listing = api.schedules.recurring_run_service_list_recurring_runs
    options = {"filter": named(_name(project)), "experiment_id": experiment}
    return list(api.items(listing, "recurring_runs", **options))


def _name(project: Project) -> str:
    """The schedule's name: that of the pipeline that it runs."""
    name: str = project.pipeline.training.name
    return name


def _cron(schedule: kfp.V2beta1RecurringRun) -> str:
    by = schedule.trigger and schedule.trigger.cron_schedule
    return f'"{by.cron.removeprefix("0 ")}" (UTC)' if by else "of another kind"
