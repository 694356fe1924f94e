"""The command `modelloop`: a verb for each thing that a laptop, CI, a cluster or a person does.

The verbs of a repository's Makefile call it. Each module here declares the verbs of one concept and
imports what a verb needs only when it runs: `modelloop serve` must not import what training needs.
"""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from modelloop import __version__
from modelloop.cli import data, docs, kubeflow, laptop, release, serving, training
from modelloop.errors import UserError


class Verbs(click.Group):
    """The verbs; an error that a person can act on is one message, without a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of a model's life, not of the alphabet."""
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs with their first sentences, which click would cut off."""
        verbs = [self.commands[name] for name in self.list_commands(ctx)]
        texts = [(v.name or "", v.get_short_help_str(limit=1000)) for v in verbs if not v.hidden]
        with formatter.section("Verbs"):
            formatter.write_dl(texts)

    def invoke(self, ctx: click.Context) -> object:
        """Run a verb.

        Exit codes: 1 for an error, 2 for a wrong call, 130 after Ctrl-C, 143 after SIGTERM.
        """
        try:
            with _exit_on_sigterm():
                return super().invoke(ctx)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(1)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            sys.exit(130)


@contextmanager
def _exit_on_sigterm() -> Iterator[None]:
    """Let SIGTERM raise SystemExit once, so that `finally` clauses end what was started."""
    if threading.current_thread() is not threading.main_thread():  # which alone has signals
        yield
        return
    ending = False

    def end(*_: object) -> None:
        nonlocal ending
        if not ending:  # a second signal would interrupt the clauses
            ending = True
            sys.exit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@click.group(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"]},
    subcommand_metavar="VERB ...",
)
@click.version_option(__version__)
@click.option(
    "--project",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The repository; by default the one that the current folder lies in.",
)
@click.pass_context
def main(ctx: click.Context, folder: Path | None) -> None:
    """The life of a model: data, training, gate, registry, release, serving, watching."""
    ctx.obj = folder


for module in (data, training, kubeflow, release, serving, laptop, docs):
    for verb in module.VERBS:
        main.add_command(verb)
