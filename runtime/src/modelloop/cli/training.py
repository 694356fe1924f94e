"""Verbs of training: run the pipeline here, read what the gate decided."""

import sys
from typing import TYPE_CHECKING

import click

from modelloop.cli.common import with_project
from modelloop.errors import UserError
from modelloop.project import Project

if TYPE_CHECKING:
    from modelloop.contract.contract import Contract

judge_later = click.option(
    "--judge-later", is_flag=True, help="Leave a rejection to the verb gate, as CI does."
)


@click.command()
@judge_later
@with_project
def train(project: Project, judge_later: bool) -> None:
    """Run the training pipeline on this machine."""
    from modelloop.kubeflow import local

    print(f"Training {project.slug}; runs are kept in {project.shown_tracking_uri}", flush=True)
    outcome = local.run(project)
    contract = outcome.contract
    print(f"\nBest candidate: {contract.provenance.candidate}\n{outcome.decision.table()}\n")
    print(f"MLflow run {contract.provenance.mlflow_run}, {outcome.seconds:.0f} s")
    report(project, contract, judge_later=judge_later)


@click.command()
@with_project
def gate(project: Project) -> None:
    """Say what the gate decided; an error where it rejected the candidate."""
    from modelloop.registry.model_reference import ModelReference

    model = ModelReference.read(project)
    print(f"{model.name}, MLflow run {model.mlflow_run}\n{model.decision.table()}")
    if not model.decision.passed:
        raise UserError("rejected: " + "; ".join(model.decision.reasons))
    print(f"version {model.version} is @challenger")


def report(project: Project, contract: "Contract", *, judge_later: bool) -> None:
    """Write model.json; a rejection is an error, unless the verb gate judges later."""
    from modelloop.registry.model_reference import ModelReference

    model = ModelReference.of(contract)
    written = model.write(project)
    if model.decision.passed:
        print(f"Registered as version {contract.version}, @challenger. Next: make promote")
        return
    print("Rejected: nothing was registered.", file=sys.stderr)
    if not judge_later:
        sys.exit(1)
    print(f"`make gate` reads the decision in {written}")


VERBS = (train, gate)
