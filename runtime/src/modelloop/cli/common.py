"""What the verbs have in common."""

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec

import click

from modelloop.project import Project

P = ParamSpec("P")


def with_project(function: Callable[Concatenate[Project, P], None]) -> Callable[P, None]:
    """Give a verb the repository as its first argument.

    Raises:
        UserError: when the verb is called, where there is no repository; see `Project.find`.
    """

    @functools.wraps(function)
    def call(*arguments: P.args, **options: P.kwargs) -> None:
        function(Project.find(click.get_current_context().find_root().obj), *arguments, **options)

    return call
