"""Run git, whatever it is set to do on this machine, and read and write its trees."""

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from errors import UserError

# When a git hook runs this, these point git at the repository of that hook.
FOREIGN = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX")
PLAIN = (
    f"core.hooksPath={os.devnull}",
    "gc.auto=0",
    "merge.directoryRenames=true",
    "merge.renames=true",
)
# Commits that only git ever sees, so nobody's, and the same whenever they are made.
NOBODY = {
    f"GIT_{role}_{part}": value
    for role in ("AUTHOR", "COMMITTER")
    for part, value in (
        ("NAME", "template"),
        ("EMAIL", "template@localhost"),
        ("DATE", "2000-01-01T00:00:00Z"),
    )
}
# merge-tree --write-tree, which merges without a work tree.
OLDEST = (2, 38)


class GitError(Exception):
    """git failed; the message is what it said."""


class Entry(NamedTuple):
    """A file of a tree: its mode and its blob."""

    mode: str
    blob: str


Files = dict[str, Entry]


def git(
    *arguments: str,
    folder: Path,
    text: str | None = None,
    settings: Sequence[str] = (),
    accept: Sequence[int] = (0,),
    **environment: str,
) -> str:
    """Run git and return what it prints.

    Raises:
        GitError: It ended with a code that is not accepted.
    """
    options = [part for setting in (*PLAIN, *settings) for part in ("-c", setting)]
    kept = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    done = subprocess.run(
        ["git", *options, *arguments],
        cwd=folder,
        env={**kept, "GIT_LITERAL_PATHSPECS": "1", "GIT_OPTIONAL_LOCKS": "0", **environment},
        # Not as text: that would turn CRLF into LF.
        input=b"" if text is None else text.encode("utf-8", "surrogateescape"),
        capture_output=True,
        check=False,
        # The lock of an update is held as long as a git runs for it.
        close_fds=False,
    )
    if done.returncode not in accept:
        said = done.stderr.decode("utf-8", "replace").strip()
        raise GitError(said or f"git {arguments[0]} ended with {done.returncode}")
    return done.stdout.decode("utf-8", "surrogateescape")


def look(*arguments: str, folder: Path) -> str | None:
    """Ask git for one line; None where it has no answer."""
    try:
        return git(*arguments, folder=folder).strip()
    except GitError:
        return None


def demand_git() -> None:
    """Check that git can do what an update needs.

    Raises:
        UserError: There is no git, or it is too old.
    """
    try:
        said = git("version", folder=Path.cwd()).strip()
    except FileNotFoundError:
        raise UserError("git was not found") from None
    version = re.search(r"(\d+)\.(\d+)", said)
    if not version or (int(version[1]), int(version[2])) < OLDEST:
        raise UserError(f"git {'.'.join(map(str, OLDEST))} or newer is needed, this is {said!r}")


def split(text: str) -> list[str]:
    """Split what git prints with -z."""
    return [part for part in text.split("\0") if part]


def files_of(folder: Path, tree: str) -> Files:
    """List a tree, or a commit's."""
    found = {}
    for line in split(git("ls-tree", "-r", "-z", tree, folder=folder)):
        about, path = line.split("\t", 1)
        mode, _, blob = about.split(" ")
        found[path] = Entry(mode, blob)
    return found


def write_tree(folder: Path, files: Mapping[str, Entry], index: Path) -> str:
    """Make a tree of files whose blobs are there; the index is a file that nobody needs."""
    index.unlink(missing_ok=True)
    lines = "".join(f"{mode} {blob}\t{path}\0" for path, (mode, blob) in files.items())
    git("update-index", "-z", "--index-info", folder=folder, text=lines, GIT_INDEX_FILE=str(index))
    return git("write-tree", folder=folder, GIT_INDEX_FILE=str(index)).strip()


def changed(old: Files, new: Files) -> list[str]:
    """Name the files that differ."""
    return sorted(path for path in old.keys() | new.keys() if old.get(path) != new.get(path))


def read(folder: Path, blob: str) -> str:
    """Return the text of a blob."""
    return git("cat-file", "blob", blob, folder=folder)


def write(folder: Path, text: str) -> str:
    """Keep a text as a blob."""
    return git("hash-object", "-w", "--stdin", folder=folder, text=text).strip()


def export(folder: Path, commit: str, to: Path) -> None:
    """Write the files of a commit into a folder, as they are in it."""
    to.mkdir(parents=True, exist_ok=True)
    index = to.with_name(f"{to.name}.index")
    git(
        *(f"--work-tree={to}", "read-tree", "--reset", "-u", commit),
        folder=folder,
        settings=("core.autocrlf=false",),
        GIT_INDEX_FILE=str(index),
    )
