"""Kubeflow Pipelines: upload versions of the pipelines, run one, schedule one, look at the runs."""

import hashlib
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import kfp_server_api as kfp
from kfp.dsl.base_component import BaseComponent

from .. import model_reference, project
from ..contract import Contract
from ..errors import UserError
from ..settings import ROOT, Settings
from . import compiled, cron
from . import kubeflow_run as one_run
from .batch import scoring
from .definition import training
from .kubeflow_api import Api, GoneError, equals

NAME = training.name  # of the pipeline, and of its schedule
EXPERIMENT = project.SLUG  # what Kubeflow shows the runs under
SHOWN = 10  # runs


@dataclass(frozen=True)
class Version:
    """A version of a pipeline in Kubeflow, and the file that it was made of."""

    pipeline_id: str
    id: str
    name: str
    file: Path

    @property
    def reference(self) -> kfp.V2beta1PipelineVersionReference:
        """What a run or a schedule is told to run."""
        return kfp.V2beta1PipelineVersionReference(
            pipeline_id=self.pipeline_id, pipeline_version_id=self.id
        )


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
    run = api.ask(
        "start the run (`make runs` shows whether it was started)",
        api.runs.run_service_create_run,
        kfp.V2beta1Run(
            display_name=f"{version.name} {datetime.now(UTC):%Y-%m-%d %H:%M:%S}",
            experiment_id=_experiment(api) or _new_experiment(api),
            pipeline_version_reference=version.reference,
            runtime_config=kfp.V2beta1RuntimeConfig(parameters={}),
        ),
    )
    print(f'Run "{run.display_name}", {run.run_id}\n{one_run.page(api, run.run_id)}', flush=True)
    one_run.wait(api, run.run_id, one_run.steps(version.file))
    return one_run.decision(env, run.run_id)


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
        made = api.ask(
            "make the schedule",
            api.schedules.recurring_run_service_create_recurring_run,
            kfp.V2beta1RecurringRun(
                display_name=NAME,
                experiment_id=_experiment(api) or _new_experiment(api),
                pipeline_version_reference=version.reference,
                runtime_config=kfp.V2beta1RuntimeConfig(parameters={}),
                trigger=kfp.V2beta1Trigger(cron_schedule=kfp.V2beta1CronSchedule(cron=fields)),
                mode="ENABLE",
                max_concurrency="1",
                no_catchup=True,
            ),
        )
        print(f"Schedule {_cron(made)}, version {version.name}")
        print(api.link(f"recurringrun/details/{made.recurring_run_id}"))
    # Last, so that there is one at any time. What a broken attempt left goes with them.
    for each in old:
        remove = api.schedules.recurring_run_service_delete_recurring_run
        try:
            api.ask("remove the old schedule", remove, each.recurring_run_id)
        except GoneError:
            continue
        print(f"Removed the schedule {_cron(each)}, {each.recurring_run_id}")
    if not fields:
        print(f"{NAME} has no schedule.")


def runs(env: Settings) -> None:
    """Print the last runs and the schedule.

    Raises:
        UserError: Kubeflow does not answer.
    """
    api = Api(env)
    ids = [_pipeline(api, pipeline.name) for pipeline in (training, scoring)]
    versions = {v.pipeline_version_id: v.display_name for i in ids if i for v in _versions(api, i)}

    def version(of: kfp.V2beta1Run | kfp.V2beta1RecurringRun) -> str:
        reference = of.pipeline_version_reference
        return versions.get(reference.pipeline_version_id, "?") if reference else "?"

    experiment = _experiment(api)
    if experiment is None:
        print("No run yet: make submit")
        return
    listed = api.ask(
        "list the runs",
        api.runs.run_service_list_runs,
        experiment_id=experiment,
        sort_by="created_at desc",
        page_size=SHOWN,
    )
    row = "{:<36}  {:<38}  {:<9}  {:<16}  {:>7}  {}"
    print(row.format("id", "name", "state", "started (UTC)", "minutes", "version"))
    for run in listed.runs or []:
        end = run.finished_at if run.state in one_run.ENDS else datetime.now(UTC)
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


def _upload(api: Api, env: Settings, pipeline: BaseComponent) -> Version:
    """This code's version of a pipeline: made, or found where it has the same content.

    What a name stands for never changes: a work tree with other changes, or another
    PIPELINE_IMAGE, makes a name of its own.
    """
    file = compiled.write(pipeline, ROOT / "build" / f"{pipeline.name}.yaml")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    pipeline_id = _pipeline(api, pipeline.name) or _new_pipeline(api, pipeline.name)
    for name in (env.tag, f"{env.tag}-{digest[:8]}"):
        found = next(iter(_versions(api, pipeline_id, name)), None)
        if found is None:
            found = api.ask(
                f"upload version {name}",
                api.uploads.upload_pipeline_version,
                str(file),
                name=name,
                display_name=name,
                pipelineid=pipeline_id,
                description=f"commit {env.commit}, sha256 {digest}",
            )
            print(f"Uploaded {pipeline.name}, version {name}", flush=True)
        elif digest in (found.description or ""):
            print(f"{pipeline.name}, version {name} is in Kubeflow", flush=True)
        else:
            continue
        return Version(pipeline_id, found.pipeline_version_id, name, file)
    raise UserError(f"{pipeline.name}, version {name} was changed in Kubeflow: remove it there")


def _pipeline(api: Api, name: str) -> str | None:
    listed = api.every(
        "look for the pipeline",
        api.pipelines.pipeline_service_list_pipelines,
        "pipelines",
        filter=equals(name),
        **api.namespace,
    )
    return next((each.pipeline_id for each in listed), None)


def _new_pipeline(api: Api, name: str) -> str:
    body = kfp.V2beta1Pipeline(name=name, display_name=name, **api.namespace)
    create = api.pipelines.pipeline_service_create_pipeline
    return api.ask("make the pipeline", create, body).pipeline_id


def _versions(api: Api, pipeline_id: str, name: str = "") -> Iterable[kfp.V2beta1PipelineVersion]:
    return api.every(
        "look at the versions",
        api.pipelines.pipeline_service_list_pipeline_versions,
        "pipeline_versions",
        pipeline_id=pipeline_id,
        **({"filter": equals(name)} if name else {}),
    )


def _experiment(api: Api) -> str | None:
    listed = api.every(
        "look for the experiment",
        api.experiments.experiment_service_list_experiments,
        "experiments",
        filter=equals(EXPERIMENT),
        **api.namespace,
    )
    return next((each.experiment_id for each in listed), None)


def _new_experiment(api: Api) -> str:
    body = kfp.V2beta1Experiment(display_name=EXPERIMENT, **api.namespace)
    create = api.experiments.experiment_service_create_experiment
    return api.ask("make the experiment", create, body).experiment_id


def _schedules(api: Api) -> list[kfp.V2beta1RecurringRun]:
    experiment = _experiment(api)
    if experiment is None:
        return []
    listed = api.every(
        "look for schedules",
        api.schedules.recurring_run_service_list_recurring_runs,
        "recurring_runs",
        filter=equals(NAME),
        experiment_id=experiment,
    )
    return [*listed]


def _cron(schedule: kfp.V2beta1RecurringRun) -> str:
    by = schedule.trigger and schedule.trigger.cron_schedule
    return f'"{by.cron.removeprefix("0 ")}" (UTC)' if by else "of another kind"
