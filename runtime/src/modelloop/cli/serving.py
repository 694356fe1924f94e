"""Verbs of a model that is served: fetch it, serve it, send it rows."""

import json

import click

from modelloop.cli.common import with_project
from modelloop.project import Project

alias = click.option("--alias", default="champion", show_default=True, help="Which version.")


@click.command()
@alias
@with_project
def fetch(project: Project, alias: str) -> None:
    """Download a model from the registry into MODEL_DIR."""
    from modelloop.registry import versions

    folder = project.settings.model_dir
    contract = versions.fetch(project, alias, folder)
    print(f"{contract.name} version {contract.version} (@{alias}) is in {folder}")


@click.command()
@with_project
def model_card(project: Project) -> None:
    """Write the facts of the model in MODEL_DIR into the model card."""
    from modelloop.contract import model_card as card
    from modelloop.contract.contract import Contract

    contract = Contract.read(project.settings.model_dir)
    written = card.fill(project, contract)
    print(f"Written: {written}, with the facts of version {contract.version}")
    for field in card.unanswered(project):
        print(f"  to answer: {field}")


@click.command()
@with_project
def serve(project: Project) -> None:
    """Serve the model in MODEL_DIR (in the serving environment)."""
    from modelloop.serving import environment

    environment.prepare()
    from modelloop.serving import server

    server.run(project)


@click.command()
@with_project
def predict(project: Project) -> None:
    """Send the server an example."""
    from modelloop.contract.contract import Contract
    from modelloop.serving import client

    env = project.settings
    request = client.example(Contract.read(env.model_dir))
    print(f"POST {env.server_url}{client.PREDICT}\n{json.dumps(request)}\n")
    print(json.dumps(client.predict(env.server_url, request), indent=2))


@click.command()
@alias
@click.argument("rows", metavar="INPUT")
@click.argument("scores", metavar="OUTPUT")
@with_project
def batch(project: Project, alias: str, rows: str, scores: str) -> None:
    """Score a file with the registry's model, or with the server at MODEL_URL.

    INPUT and OUTPUT are CSV or Parquet files, or addresses of them.
    """
    from modelloop.batch import job

    print(job.run(project, rows, scores, alias))


@click.command()
@click.argument("file")
@with_project
def labels(project: Project, file: str) -> None:
    """Post labels that came late to the server.

    FILE is CSV or Parquet with the columns puid, truth and perhaps row.
    """
    from modelloop.batch import labels as late

    print(late.post(project.settings, file))


@click.command()
@with_project
def receive(project: Project) -> None:
    """Start trainings that alerts ask for (in the serving environment)."""
    from modelloop.retrain import receiver

    receiver.run(project)


VERBS = (fetch, model_card, serve, predict, batch, labels, receive)
