"""The verb that shows the pages of the library."""

import webbrowser
from pathlib import Path

import click

from modelloop import __version__
from modelloop.errors import UserError
from modelloop.project import Project


@click.command()
@click.option("--browser/--no-browser", default=True, help="Open it, or only print where it is.")
def docs(browser: bool) -> None:
    """Open the pages of exactly this version, offline and with search, in the browser."""
    from modelloop.docs import site

    first = site.write(_folder(), __version__)
    print(first)
    if browser and not webbrowser.open(first.as_uri()):
        raise UserError("there is no browser here: open that file in one")


def _folder() -> Path:
    """Where the pages are written: build/docs of the repository, elsewhere a cache."""
    given = click.get_current_context().find_root().obj
    try:
        return Project.find(given).build / "docs"
    except UserError:
        if given:
            raise
        return Path.home() / ".cache" / "modelloop" / f"docs-{__version__}"


VERBS = (docs,)
