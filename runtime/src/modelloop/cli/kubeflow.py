"""Verbs of Kubeflow Pipelines: compile, submit, upload, schedule, show the runs."""

import sys
from pathlib import Path

import click

from modelloop.cli.common import with_project
from modelloop.cli.training import judge_later, report
from modelloop.project import Project


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@with_project
def pipeline(project: Project, folder: Path) -> None:
    """Compile the pipelines to YAML, into FOLDER."""
    from modelloop.kubeflow import compiled

    pipelines = {"training": project.pipeline.training, "batch": project.pipeline.scoring}
    for name, found in pipelines.items():
        print(f"Compiled pipeline: {compiled.write(found, folder / f'{name}.yaml')}")


@click.command()
@judge_later
@with_project
def submit(project: Project, judge_later: bool) -> None:
    """Run the training pipeline on Kubeflow, and wait for it."""
    from modelloop.kubeflow import submit as submitting

    contract = submitting.submit(project)
    if contract is None:
        # Who judges later needs model.json; a person has seen the run succeed.
        sys.exit(1 if judge_later else 0)
    decision = contract.decision.table() if contract.decision else ""
    print(f"\nBest candidate: {contract.provenance.candidate}\n{decision}\n")
    print(f"MLflow run {contract.provenance.mlflow_run}")
    report(project, contract, judge_later=judge_later)


@click.command()
@with_project
def upload(project: Project) -> None:
    """Upload the pipelines to Kubeflow as versions of this commit."""
    from modelloop.kubeflow import submit as submitting

    submitting.upload(project)


@click.command()
@click.argument("cron")
@with_project
def schedule(project: Project, cron: str) -> None:
    """Let Kubeflow train by itself, with this commit.

    CRON is the five fields of a crontab, such as "0 3 * * 1", or off.
    """
    from modelloop.kubeflow import submit as submitting

    submitting.schedule(project, cron)


@click.command()
@with_project
def runs(project: Project) -> None:
    """Show the last runs on Kubeflow, and the schedule."""
    from modelloop.kubeflow import submit as submitting

    submitting.runs(project)


VERBS = (pipeline, submit, upload, schedule, runs)
