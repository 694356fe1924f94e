"""Files that leave the template: removed where unedited, kept aside where a team edited them."""

import re
from collections.abc import Iterable
from pathlib import Path

from git_tool import Entry, Files, read, write
from merge import Merged
from owners import matches
from team_imports import TABLE

ASIDE = "left-by-template"
HEAD = """\
# Left by the template

These files are not part of the template any more, but this repository had edited them. Each lies
here as it was. Bring your change to where the list says, then remove the file; remove this folder
when it is empty.

"""


def put_aside(project: Path, merged: Merged) -> dict[str, str]:
    """Move edited files that the template removed into a folder of their own, with a list.

    Returns:
        For each file what to do with it now.
    """
    leaving = sorted(
        path for path, sides in merged.conflicts.items() if 2 in sides and 3 not in sides
    )
    for path in leaving:
        sides = merged.conflicts.pop(path)
        merged.files.pop(path, None)
        merged.files[f"{ASIDE}/{path}"] = sides[2]
    found = {path: advice(path) for path in leaving}
    if found:
        text = HEAD + "".join(f"- `{path}`: {now}.\n" for path, now in found.items())
        merged.files[f"{ASIDE}/README.md"] = Entry("100644", write(project, text))
    return found


def advice(path: str) -> str:
    """Say what to do with a file that left."""
    return next(
        entry["now"]
        for entry in TABLE["left"]
        if any(matches(path, glob) for glob in entry["files"])
    )


def merge_lists(project: Path, old: Files, ours: Files, new: Files, merged: Merged) -> None:
    """Merge lists of requirements by their lines, where git could not.

    What the team added stays, below the template's lines; what it removed stays away. Where both
    changed the line of one package, the conflict stays.
    """
    for path in [path for path in merged.conflicts if path.endswith(".in")]:
        if not all(path in files for files in (old, ours, new)):
            continue
        before, mine, theirs = (
            read(project, files[path].blob).splitlines() for files in (old, ours, new)
        )
        added = [line for line in mine if line.strip() and line not in before]
        removed = {line for line in before if line.strip() and line not in mine}
        if packages(added) & packages(line for line in theirs if line not in before):
            continue
        kept = [line for line in theirs if line not in removed]
        lines = [*kept, *(["", *added] if added else [])]
        merged.files[path] = Entry(new[path].mode, write(project, "\n".join(lines) + "\n"))
        del merged.conflicts[path]


def packages(lines: Iterable[str]) -> set[str]:
    """Name the packages that lines of requirements are about."""
    found = (re.match(r"\s*([A-Za-z0-9][\w.-]*)", line) for line in lines)
    return {re.sub("[-_.]+", "-", name[1]).lower() for name in found if name}
