"""A clone of the template: its versions, their files and their renders."""

import contextlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from errors import UserError
from git_tool import GitError, export, git, look
from questions import Answers

RENDER = Path(__file__).resolve().with_name("render.py")
RELEASE = re.compile(r"v(\d+)\.(\d+)\.(\d+)")


@dataclass
class Version:
    """A commit of the template, and what people call it."""

    commit: str
    name: str
    date: str


class Template:
    """A clone of the template, which knows every version of it."""

    def __init__(self, folder: Path) -> None:
        """Use the clone in a folder."""
        self.folder = folder
        self._work = Path(tempfile.mkdtemp(prefix="template-"))
        self._renderers: dict[str, subprocess.Popen] = {}

    def wanted(self, ref: str | None) -> str:
        """Find the commit of a reference, or of the newest release, or of the default branch.

        Raises:
            UserError: The template has no such reference.
        """
        tags = filter(RELEASE.fullmatch, git("tag", "--list", folder=self.folder).split())
        newest = max(tags, key=lambda tag: [*map(int, RELEASE.fullmatch(tag).groups())], default="")
        places = (f"refs/tags/{ref}", f"refs/remotes/origin/{ref}", ref) if ref else ()
        for name in places or (f"refs/tags/{newest}", "refs/remotes/origin/HEAD", "HEAD"):
            asked = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
            if commit := look(*asked, folder=self.folder):
                return commit
        raise UserError(f"REF: {ref!r} given; allowed: a tag, branch or commit of the template")

    def has(self, commit: str) -> bool:
        """Say whether the template has a commit; its address is asked where the clone has not."""
        if not re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", commit):
            return False
        exists = ("cat-file", "-e", f"{commit}^{{commit}}")
        if look(*exists, folder=self.folder) is None:
            look("fetch", "--quiet", "origin", commit, folder=self.folder)
        return look(*exists, folder=self.folder) is not None

    def version(self, commit: str) -> Version:
        """Name a commit by its release, or by its first characters."""
        date = git("show", "-s", "--format=%cs", commit, folder=self.folder).strip()
        tags = git("tag", "--points-at", commit, folder=self.folder).split()
        names = [tag for tag in tags if RELEASE.fullmatch(tag)]
        return Version(commit, names[0] if names else commit[:9], date)

    def is_behind(self, commit: str, other: str) -> bool:
        """Say whether a commit comes before another one."""
        return look("merge-base", "--is-ancestor", commit, other, folder=self.folder) is not None

    def text(self, commit: str, path: str, otherwise: str = "") -> str:
        """Return a file of a commit."""
        with contextlib.suppress(GitError):
            return git("cat-file", "blob", f"{commit}:{path}", folder=self.folder)
        return otherwise

    def news(self, old: str, new: str, most: int = 12) -> list[str]:
        """Return what the changelog of the new version says that the old one's does not."""
        before = self.text(old, "CHANGELOG.md").splitlines()
        lines: list[str] = []
        for line in self.text(new, "CHANGELOG.md").splitlines():
            if line.startswith("#"):
                while lines and lines[-1].startswith(line.split(" ")[0]):
                    lines.pop()  # a heading with nothing below
                lines.append(line)
            elif line.strip() and line not in before:
                lines.append(line)
        while lines and lines[-1].startswith("#"):
            lines.pop()
        lines = [line for line in lines if not line.startswith("# ")]
        return lines[:most] + (
            [f"  ... {len(lines) - most} more lines"] if len(lines) > most else []
        )

    def ask(self, commit: str, answers: Answers, out: Path) -> None:
        """Begin to render a version into a folder."""
        if commit not in self._renderers:
            folder = self._work / commit
            export(self.folder, commit, folder)
            self._renderers[commit] = subprocess.Popen(
                [sys.executable, RENDER, folder],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                encoding="utf-8",
            )
        request = {"answers": {**answers, "_commit": commit}, "out": str(out)}
        self._renderers[commit].stdin.write(json.dumps(request) + "\n")
        self._renderers[commit].stdin.flush()

    def rendered(self, commit: str) -> dict:
        """Wait for the next render of a version.

        Raises:
            UserError: The template refuses the answers.
        """
        reply = json.loads(self._renderers[commit].stdout.readline() or "{}")
        if "folder" not in reply:
            why = reply.get("refused", "it could not be rendered")
            raise UserError(f"{why} (template at {commit[:9]})")
        return reply

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._renderers.values():
            process.stdin.close()
            process.stdout.close()
            process.wait()
        shutil.rmtree(self._work)
