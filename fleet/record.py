"""What a repository knows of its template: .cruft.json, as the hook and cruft write it."""

import json
import os
import re
from pathlib import Path

from errors import UserError
from git_tool import GitError, git, look
from questions import Answers
from template import Version

RECORD = ".cruft.json"
# What cookiecutter says of one run; a record that holds it would differ from machine to machine.
OF_ONE_RUN = ("_template", "_commit", "_output_dir", "_repo_dir", "_checkout")


def read_record(project: Path) -> dict:
    """Read what a repository knows of its template, as it is committed.

    Raises:
        UserError: It knows nothing, or is no repository of its own.
    """
    try:
        top = git("rev-parse", "--show-toplevel", folder=project).removesuffix("\n")
    except (GitError, OSError) as error:
        raise UserError(f"{project}: {error}") from None
    if not os.path.samefile(top, project):
        raise UserError(
            f"{project} is a folder of the repository {top}: only a whole one can be updated"
        )
    text = look("cat-file", "blob", f"HEAD:{RECORD}", folder=project)
    if text is None:
        raise UserError(f"no {RECORD} is committed, so nothing says which template this came from")
    try:
        record = json.loads(text)
        if not all(isinstance(record[key], str) for key in ("template", "commit")):
            raise ValueError("template and commit are text")
        dict(record["context"]["cookiecutter"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{RECORD} is not as cookiecutter or cruft wrote it: {error!r}") from None
    return record


def rewritten(record: dict, context: dict, address: str, version: Version, ref: str | None) -> dict:
    """Return the record of another version; what else is in it stays as it is.

    Args:
        record: The record of the repository.
        context: What the version was rendered with.
        address: Where the template is.
        version: The version.
        ref: What it was asked for by, if by anything.
    """
    answers = {name: value for name, value in context.items() if name not in OF_ONE_RUN}
    answers |= {"_template": address, "_commit": version.commit}
    changed = {
        "template": address,
        "commit": version.commit,
        "context": {**record["context"], "cookiecutter": answers},
    }
    # cruft compares with what was checked out: by an old release, it would find this one too new.
    if record.get("checkout"):
        changed["checkout"] = ref or version.name
    return record | changed


def without_password(address: str) -> str:
    """Return an address that anybody may read, and that means the same in every folder."""
    if os.path.isdir(address):
        return os.path.abspath(address)
    return re.sub("^(https?://)[^/@]*@", r"\1", address)


def public(context: dict) -> Answers:
    """Leave out what cookiecutter does not ask."""
    return {name: value for name, value in context.items() if not name.startswith("_")}
