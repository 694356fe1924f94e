"""Verbs that play the whole loop on this machine, and watch it."""

import click

from modelloop.cli.common import with_project
from modelloop.project import Project


@click.command()
@with_project
def demo(project: Project) -> None:
    """Train, promote, serve and predict once, and show where to look."""
    from modelloop.laptop import demo as played

    played.run(project)


@click.command()
@with_project
def tools(project: Project) -> None:
    """Download Prometheus and Alertmanager where they are not installed."""
    from modelloop.laptop import tools as programs

    programs.provide(project)


@click.command()
@click.option("--fast", is_flag=True, help="An hour takes ten seconds.")
@with_project
def monitor(project: Project, fast: bool) -> None:
    """Watch the model with Prometheus and Alertmanager on this machine."""
    from modelloop.laptop import stack

    stack.watch(project, fast=fast)


@click.command()
@with_project
def loop(project: Project) -> None:
    """Drift, alert, training, recovery: the story once, in a minute."""
    from modelloop.laptop import loop as played

    played.run(project)


@click.command()
@with_project
def rules(project: Project) -> None:
    """Write the rules as files for a Prometheus without the operator, into build/rules."""
    from modelloop.monitoring import rules as of_prometheus

    for path in of_prometheus.write(project, project.build / "rules"):
        print(f"Written: {path}")


@click.command()
@click.option("--port", default=5000, show_default=True, help="The port, on 127.0.0.1.")
@with_project
def mlflow(project: Project, port: int) -> None:
    """Show the MLflow pages of the local store until Ctrl-C."""
    from modelloop.registry import pages

    pages.serve(project, port)


@click.command(hidden=True, context_settings={"ignore_unknown_options": True})
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
@with_project
def notebook(project: Project, options: tuple[str, ...]) -> None:
    """Start JupyterLab in the image of notebooks; OPTIONS are more options of it."""
    from modelloop.laptop import notebook as server

    server.run(project, [*options])


VERBS = (demo, tools, monitor, loop, rules, mlflow, notebook)
