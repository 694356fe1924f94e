"""Verbs of the data: another table, the example."""

import click

from modelloop.cli.common import with_project
from modelloop.project import Project


@click.command()
@click.option("--target", default="", metavar="NAME", help="The column to predict.")
@click.option(
    "--keep",
    multiple=True,
    metavar="NAME",
    help="A column that is a feature, whatever it looks like; may be given again.",
)
@click.option("--yes", is_flag=True, help="Write it without asking.")
@with_project
def new_data(project: Project, target: str, keep: tuple[str, ...], yes: bool) -> None:
    """Propose data.py, model.py and the data card for the table DATA_URI."""
    from modelloop.newdata import proposal

    proposal.run(project, target, [*keep], yes=yes)


@click.command()
@with_project
def eject_example(project: Project) -> None:
    """Remove the example, and say what comes next."""
    from modelloop.newdata import example

    example.eject(project)


VERBS = (new_data, eject_example)
