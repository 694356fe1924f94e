"""Merge two renders of the template into a repository's files, in git's object store only."""

import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from git_tool import NOBODY, Entry, Files, files_of, git, split, write, write_tree

IsTeams = Callable[[str], bool]
Stages = dict[str, dict[int, Entry]]


@dataclass
class Merged:
    """The outcome: files, with markers where both sides changed the same lines."""

    files: Files
    # Stage 1 is the template's old file, 2 the repository's, 3 the template's new one.
    conflicts: Stages = field(default_factory=dict)
    # Deleted in the repository, changed in the template.
    stay_deleted: list[str] = field(default_factory=list)


def add_render(project: Path, render: Path, index: Path, crlf: frozenset[str]) -> Files:
    """Put a render's files into the object store of a project.

    Args:
        project: A git repository.
        render: The folder of the render.
        index: A file that nobody needs.
        crlf: Files that end their lines with CRLF in the project: they do in the render, too, or
            every line of them would differ.
    """
    for name in crlf:
        path = render / name
        if path.is_file():
            path.write_bytes(re.sub(rb"\r?\n", b"\r\n", path.read_bytes()))
    index.unlink(missing_ok=True)
    exact = ("core.autocrlf=false", "core.safecrlf=false", "core.excludesFile=")
    place = {
        "GIT_DIR": git("rev-parse", "--absolute-git-dir", folder=project).strip(),
        "GIT_WORK_TREE": str(render),
        "GIT_INDEX_FILE": str(index),
    }
    git("add", "--all", "--force", ".", folder=render, settings=exact, **place)
    files = {}
    for line in split(git("ls-files", "--stage", "-z", folder=render, **place)):
        about, path = line.split("\t", 1)
        mode, blob, _ = about.split(" ")
        files[path] = Entry(mode, blob)
    return files


def with_crlf(project: Path, *renders: Path) -> frozenset[str]:
    """Name the files of renders that the project has with CRLF at the end of every line."""
    names = {
        str(path.relative_to(render))
        for render in renders
        for path in render.rglob("*")
        if path.is_file()
    }
    lines = split(git("ls-files", "--eol", "-z", "--", *sorted(names), folder=project))
    return frozenset(line.split("\t", 1)[1] for line in lines if line.startswith("i/crlf "))


def spare_team(
    project: Path, old: Files, new: Files, ours: Files, is_teams: IsTeams
) -> tuple[Files, list[str]]:
    """Take out of the template's change what concerns files of the team.

    They only move, where the template moves them, and one that is new in the template is added,
    unless the repository has it. While none was edited, they are the template's example: then
    nothing is taken out.

    Returns:
        The template's new files as they are to be merged, and the team's that the template changed.
    """
    theirs = dict(new)
    for path in new:
        if is_teams(path) and path in ours and path not in old:
            del theirs[path]
    teams = [path for path in old if is_teams(path)]
    if all(ours.get(path) == old[path] for path in teams):
        return theirs, []
    moved = {}
    if any(path not in new for path in teams):
        found = moves(project, old, new).items()
        moved = {path: place for path, place in found if is_teams(path) and is_teams(place)}
    for path in teams:
        theirs[moved.get(path, path)] = old[path]
    kept = [path for path in teams if new.get(moved.get(path, path)) != old[path]]
    return theirs, [path for path in kept if path in ours]


def moves(project: Path, old: Files, new: Files) -> dict[str, str]:
    """Find where files of one render are in another one."""
    with tempfile.TemporaryDirectory() as folder:
        index = Path(folder, "index")
        trees = [write_tree(project, files, index) for files in (old, new)]
    options = ("-r", "-z", "-M", "--name-status", "--diff-filter=R", "-l0")
    parts = split(git("diff-tree", *options, *trees, folder=project))
    return dict(zip(parts[1::3], parts[2::3], strict=True))


def merge(project: Path, base: str, ours: str, theirs: str, names: tuple[str, str, str]) -> Merged:
    """Merge three ways, as git merges branches.

    Args:
        project: A git repository.
        base: The tree of the template's old render.
        ours: The tree of the repository.
        theirs: The tree of the template's new render.
        names: What conflict markers call base, ours and theirs.
    """
    # git finds the base by itself as the common parent of two commits made for this.
    root = git("commit-tree", base, "-m", "base", folder=project, **NOBODY).strip()
    sides = [
        git("commit-tree", tree, "-p", root, "-m", name, folder=project, **NOBODY).strip()
        for tree, name in ((ours, "ours"), (theirs, "theirs"))
    ]
    said = git("merge-tree", "--write-tree", "-z", *sides, folder=project, accept=(0, 1))
    about, _, told = said.partition("\0\0")
    tree, *lines = about.split("\0")
    stages: Stages = {}
    for line in filter(None, lines):
        where, path = line.split("\t", 1)
        mode, blob, stage = where.split(" ")
        stages.setdefault(path, {})[int(stage)] = Entry(mode, blob)
    merged = Merged(files_of(project, tree))
    in_lines = with_markers(told)
    for path, sides_of in stages.items():
        if 1 in sides_of and 3 in sides_of and 2 not in sides_of:
            merged.files.pop(path, None)
            merged.stay_deleted.append(path)
            continue
        merged.conflicts[path] = sides_of
        # Of what it takes for binary, git leaves the repository's side, without markers.
        if path in in_lines and merged.files.get(path) not in (None, sides_of.get(2)):
            blob = marked(project, sides_of, names)
            merged.files[path] = Entry(merged.files[path].mode, blob)
    return merged


def with_markers(told: str) -> set[str]:
    """Name the files that git could not merge line by line, from what merge-tree -z says."""
    parts = told.split("\0")
    found: set[str] = set()
    at = 0
    while at + 2 < len(parts):
        count = int(parts[at] or 0)
        paths, kind = parts[at + 1 : at + 1 + count], parts[at + 1 + count]
        if kind == "CONFLICT (contents)":
            found.update(paths)
        at += count + 3
    return found


def marked(project: Path, sides: dict[int, Entry], names: tuple[str, str, str]) -> str:
    """Merge a file again, with markers that show the template's old lines, too."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for stage in (2, 1, 3):
            path = Path(folder, str(stage))
            content = ""
            if stage in sides:
                content = git("cat-file", "blob", sides[stage].blob, folder=project)
            path.write_text(content, encoding="utf-8", errors="surrogateescape", newline="")
            paths.append(os.fspath(path))
        base, ours, theirs = names
        labels = [part for name in (ours, base, theirs) for part in ("-L", name)]
        # The code is the number of conflicts.
        text = git(
            *("merge-file", "-p", "--diff3", *labels, *paths), folder=project, accept=range(128)
        )
    return write(project, text)
