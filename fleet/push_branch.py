"""A push module for all-repos that pushes the branch and opens no request."""

from typing import NamedTuple

from all_repos import autofix_lib


class Settings(NamedTuple):
    """It needs none."""


def push(settings: Settings, branch_name: str) -> None:
    """Push the current commit as a branch."""
    autofix_lib.run("git", "push", "--quiet", "origin", f"HEAD:refs/heads/{branch_name}")
