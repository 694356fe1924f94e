"""A small template with releases, and a repository made from it, for tests of updates."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from conftest import BIN, ROOT, commit, fresh, git

SLUG = "{{cookiecutter.project_slug}}"
PACKAGE = "{{cookiecutter.package_name}}"
UPDATE = ROOT / "fleet" / "update.py"

Changes = dict[str, str | bytes | None]
Done = subprocess.CompletedProcess[str]

QUESTIONS = {
    "project_slug": "penguins",
    "package_name": "penguins",
    "flavour": ["plain", "rich"],
    "fast": False,
    "contact": "team@example.com",
}
HOOK = """\
import sys
if " " in "{{ cookiecutter.contact }}":
    print("contact: a space given; allowed: no spaces", file=sys.stderr)
    sys.exit(1)
"""
LINES = "".join(f"line {at}\n" for at in range(1, 21))
FILES: Changes = {
    "README.md": "# {{ cookiecutter.project_slug }}\n" + LINES,
    "Makefile": "all:\n\ttrue\n",
    "docs/page.md": "page\n" + LINES,
    "docs/other.md": "other\n" + LINES,
    f"src/{PACKAGE}/data.py": "data\n" + LINES,
    f"src/{PACKAGE}/model.py": "{{ cookiecutter.flavour }}\n" + LINES,
    f"src/{PACKAGE}/core.py": "from {{ cookiecutter.package_name }} import data\n" + LINES,
}


class MadeTemplate:
    """A template of a few files, as a repository."""

    def __init__(self, folder: Path, files: Changes = FILES) -> None:
        self.folder = folder
        (folder / "hooks").mkdir(parents=True)
        (folder / "hooks" / "pre_gen_project.py").write_text(HOOK)
        git(folder, "init", "--quiet", "--initial-branch=main")
        self.release("v1.0.0", files)

    def release(self, tag: str, files: Changes, questions: dict | None = None, **own: str) -> str:
        """Change files of the render and of the template itself, commit, tag."""
        if questions or not (self.folder / "cookiecutter.json").exists():
            (self.folder / "cookiecutter.json").write_text(json.dumps(questions or QUESTIONS))
        apply(self.folder / SLUG, files)
        apply(self.folder, {name.replace("__", "/"): text for name, text in own.items()})
        git(self.folder, "add", "--all")
        git(self.folder, "commit", "--quiet", "--allow-empty", "--message", tag or "Next")
        if tag:
            git(self.folder, "tag", tag)
        return git(self.folder, "rev-parse", "HEAD")

    def generate(self, folder: Path, **answers: str) -> "Project":
        """Make a repository, as cookiecutter and the real hook do."""
        work = folder.with_name(f"{folder.name}-work")
        made = fresh(self.folder, work, answers)
        head = git(self.folder, "rev-parse", "HEAD")
        given = json.loads(next((work / "replay").glob("*.json")).read_text())["cookiecutter"]
        kept = {name: value for name, value in given.items() if not name.startswith("_")}
        record = {
            "template": str(self.folder),
            "commit": head,
            "checkout": None,
            "context": {
                "cookiecutter": kept | {"_template": str(self.folder), "_commit": head}
            },
            "directory": None,
        }  # fmt: skip
        (made / ".cruft.json").write_text(json.dumps(record, indent=2) + "\n")
        git(made, "init", "--quiet", "--initial-branch=main")
        commit(made, "Start")
        shutil.move(made, folder)
        shutil.rmtree(work)
        return Project(folder, self)


class Project:
    """A repository that was made from a template."""

    def __init__(self, folder: Path, template: MadeTemplate) -> None:
        self.folder = folder
        self.template = template
        # What the updater printed, for tests that share an update.
        self.said = ""

    def edit(self, files: Changes) -> None:
        """Do as a team does: change files, commit."""
        apply(self.folder, files)
        commit(self.folder, "The team's")

    def run(self, verb: str, *options: str | Path, **environment: str) -> Done:
        """Run the updater."""
        return follow(verb, self.folder, self.template.folder, *options, **environment)

    def text(self, path: str) -> str:
        return (self.folder / path).read_text()

    def status(self) -> str:
        """Say what differs from the last commit."""
        return git(self.folder, "status", "--porcelain", "--untracked-files=all")

    def tree(self) -> str:
        """Name what is staged."""
        return git(self.folder, "write-tree")

    def record(self) -> dict:
        return json.loads(self.text(".cruft.json"))


def follow(
    verb: str, folder: Path, template: Path, *options: str | Path, **environment: str
) -> Done:
    """Run the updater on a repository."""
    command = [sys.executable, UPDATE, verb, "--project", folder, "--template", template]
    done = subprocess.run(
        [*command, "--uv", BIN / "uv", *options],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def apply(folder: Path, files: Changes) -> None:
    """Write files, and remove those that are None."""
    for name, content in files.items():
        path = folder / name
        if content is None:
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content.encode() if isinstance(content, str) else content
        path.write_bytes(data)
