"""Locks are compiled, not merged: the team's packages stay, the platform's versions move."""

import os
import posixpath
import re
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from git_tool import Entry, Files, git, read, write, write_tree

# A pin and its hashes, up to the next one.
PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)(?:\[[^]]*\])?==.*(?:\n[ \t]+.*)*", re.MULTILINE)
REFERS = re.compile(r"^(?:-c|-r|--constraints?|--requirements?)[ =]+(\S+)", re.MULTILINE)
# What `make` passes on to a make below it.
OF_MAKE = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "GNUMAKEFLAGS")


@dataclass
class Locks:
    """The locks of a repository: as before, the template's, or to be compiled."""

    project: Path
    old: Files
    new: Files
    ours: Files
    merged: Files
    undecided: frozenset[str]
    to_compile: list[str] = field(default_factory=list)
    _follows: dict[str, bool] = field(default_factory=dict)

    def decide(self, is_lock: Callable[[str], bool]) -> None:
        """Decide about each lock of the template; the merged files are changed."""
        for path in filter(is_lock, self.old):
            if path not in self.new and source(path) not in self.merged:
                self.merged.pop(path, None)
        for path in filter(is_lock, self.new):
            if path in self.merged:
                self.follows(path)

    def follows(self, path: str) -> bool:
        """Say whether a lock is the template's new one, and make it so where it can be."""
        if path not in self._follows:
            self._follows[path] = False  # for locks that refer to each other
            inputs = self.inputs(path)
            locks = [name for name in inputs if source(name) in self.merged]
            self._follows[path] = all(map(self.follows, locks)) and all(
                self.merged.get(name) == self.new.get(name) for name in inputs if name not in locks
            )
            if self._follows[path]:
                concerned = self.old.get(path) != self.new[path] or self.moved(inputs)
                self.merged[path] = self.new[path] if concerned else self.merged[path]
                self._follows[path] = self.merged[path] == self.new[path]
            elif self.old.get(path) != self.new[path] or self.moved(inputs):
                self.to_compile.append(path)
        return self._follows[path]

    def moved(self, inputs: set[str]) -> bool:
        """Say whether something that a lock is compiled from is not as it was."""
        return any(
            self.merged.get(name) != self.ours.get(name) or name in self.to_compile
            for name in inputs
        )

    def inputs(self, path: str) -> set[str]:
        """Name what a lock is compiled from, at any depth."""
        found: set[str] = set()
        todo = [source(path), path.removesuffix(".txt") + "-overrides.txt"]
        while todo:
            name = todo.pop()
            if name not in self.merged or name in found:
                continue
            found.add(name)
            if source(name) in self.merged:
                continue  # a lock: what it is compiled from is its own affair
            folder = posixpath.dirname(name)
            for other in REFERS.findall(read(self.project, self.merged[name].blob)):
                todo.append(posixpath.normpath(posixpath.join(folder, other)))
        return found

    def compile(self, uv: str) -> str | None:
        """Compile what is to be compiled, with the repository's own `make lock`.

        Returns:
            Why it could not be done; the locks are then as the team had them.
        """
        if not self.to_compile:
            return None
        if self.undecided & {name for path in self.to_compile for name in self.inputs(path)}:
            return "what they are compiled from is in conflict"
        if "Makefile" in self.undecided:
            return "the Makefile is in conflict"
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name, "files")
            self.lay_out(folder)
            kept = {key: value for key, value in os.environ.items() if key not in OF_MAKE}
            done = subprocess.run(
                ["make", "lock", "MAIN=", f"UV={uv}"],
                cwd=folder,
                env=kept,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                encoding="utf-8",
                errors="replace",
            )
            if done.returncode:
                return because(done.stderr)
            for path in self.to_compile:
                text = (folder / path).read_text(encoding="utf-8")
                self.merged[path] = Entry(self.merged[path].mode, write(self.project, text))
        return None

    def lay_out(self, folder: Path) -> None:
        """Write what `make lock` reads, with the template's versions and the team's own pins."""
        files = {
            path: entry
            for path, entry in self.merged.items()
            if path == "Makefile" or path.endswith((".txt", ".in", ".whl"))
        }
        index = folder.with_name("index")
        write_tree(self.project, files, index)
        options = ("checkout-index", "--all", f"--prefix={folder}/")
        git(*options, folder=self.project, GIT_INDEX_FILE=str(index))
        for path in self.to_compile:
            ours = read(self.project, self.ours[path].blob) if path in self.ours else ""
            text = seed(read(self.project, self.new[path].blob), ours)
            (folder / path).write_text(text, encoding="utf-8")


def source(path: str) -> str:
    """Return what a lock would be compiled from."""
    return path.removesuffix(".txt") + ".in" if path.endswith(".txt") else ""


def seed(platform: str, teams: str) -> str:
    """Add to the platform's pins those of packages that it does not know."""
    known = {pin[1] for pin in PIN.finditer(platform)}
    return platform + "".join(f"{pin[0]}\n" for pin in PIN.finditer(teams) if pin[1] not in known)


def because(said: str) -> str:
    """Take uv's reason out of what `make lock` said: its last lines, without the drawing."""
    lines = [line for line in said.splitlines() if line.strip() and not line.startswith("make")]
    words = [word for line in lines[-3:] for word in line.split() if re.search(r"[\w.]", word)]
    return " ".join(words) or "`make lock` failed and said nothing"
