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

    def wanted(self, ref: str | None, name: str = "REF") -> str:
        """Find the commit of a reference, or of the newest release, or of the default branch.

        Raises:
            UserError: The template has no such reference.
        """
        tags = filter(RELEASE.fullmatch, git("tag", "--list", folder=self.folder).split())
        newest = max(tags, key=lambda tag: [*map(int, RELEASE.fullmatch(tag).groups())], default="")
        places = (f"refs/tags/{ref}", f"refs/remotes/origin/{ref}", ref) if ref else ()
        for place in places or (f"refs/tags/{newest}", "refs/remotes/origin/HEAD", "HEAD"):
            asked = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{place}^{{commit}}")
            if commit := look(*asked, folder=self.folder):
                return commit
        raise UserError(f"{name}: {ref!r} given; allowed: a tag, branch or commit of the template")

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

    def render(self, wanted: list[tuple[str, Answers, Path]]) -> list[dict]:
        """Render versions with answers into folders, side by side.

        Raises:
            UserError: The template refuses the answers.
        """
        for commit, answers, out in wanted:
            request = {"answers": {**answers, "_commit": commit}, "out": str(out)}
            asked = self._renderer(commit).stdin
            asked.write(json.dumps(request) + "\n")
            asked.flush()
        # All are read before one is refused: the renderers are asked again.
        replies = [self._renderers[commit].stdout.readline() for commit, _, _ in wanted]
        found = []
        for (commit, _, _), line in zip(wanted, replies, strict=True):
            reply = json.loads(line or '{"refused": "rendering broke off"}')
            if "refused" in reply:
                raise UserError(f"{reply['refused']} (template at {commit[:9]})")
            found.append(reply)
        return found

    def _renderer(self, commit: str) -> subprocess.Popen:
        """Return the process that renders a version."""
        if commit not in self._renderers or self._renderers[commit].poll() is not None:
            folder = self._work / commit
            export(self.folder, commit, folder)
            self._renderers[commit] = subprocess.Popen(
                [sys.executable, RENDER, folder],
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                encoding="utf-8",
            )
        return self._renderers[commit]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._renderers.values():
            process.stdin.close()
            process.stdout.close()
            process.wait()
        shutil.rmtree(self._work)
