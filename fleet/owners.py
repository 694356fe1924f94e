"""Say who owns a file of a model repository: team, shared, lock or template."""

import re
import tomllib
from functools import cache
from pathlib import Path

OWNERS: dict[str, list[str]] = tomllib.loads(
    Path(__file__).with_name("owners.toml").read_text(encoding="utf-8")
)
WILD = {"**/": "(.*/)?", "**": ".*", "*": "[^/]*"}


@cache
def owner(path: str) -> str | None:
    """Return the kind of the first pattern that matches the path, None where none does."""
    for kind, globs in OWNERS.items():
        if any(matches(path, glob) for glob in globs):
            return kind
    return None


def matches(path: str, glob: str) -> bool:
    """Say whether a glob means the path: * stays within a name, ** does not."""
    parts = re.split(r"(\*\*/|\*\*|\*)", glob)
    return bool(re.fullmatch("".join(WILD.get(part, re.escape(part)) for part in parts), path))
