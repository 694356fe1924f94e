"""Measure a roll-out: processor time a repository, over repositories as teams leave them.

`python benchmarks/rollout.py [how many] [folder]`; the folder stays, to look at.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from conftest import commit, copy_of_template, fresh, git  # noqa: E402

LIMIT = 1.5  # 200 repositories in five minutes
SLUG = "{{cookiecutter.project_slug}}"
ANSWERS = (
    {},
    {"problem_type": "regression"},
    {"release_target": "azureml"},
    {"license": "MIT", "project_name": "Whales"},
)


def main() -> int:
    """Print the table and the figure; 1 when a repository costs more than it may."""
    many = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    empty = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    who = {f"GIT_{role}_NAME": "platform" for role in ("AUTHOR", "COMMITTER")}
    who |= {f"GIT_{role}_EMAIL": "platform@example.com" for role in ("AUTHOR", "COMMITTER")}
    os.environ |= empty | who
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(sys.argv[2] if len(sys.argv) > 2 else name).resolve()
        template = copy_of_template(folder / "template")
        make_repositories(template, folder, many)
        change(template / SLUG)
        commit(template, "Second")
        git(template, "tag", "v1.1.0")
        used = roll_out(template, folder) / many
    print(f"roll-out: {used:.2f} s of processor time a repository, limit {LIMIT}")
    return int(used > LIMIT)


def make_repositories(template: Path, folder: Path, many: int) -> None:
    """Put repositories on a server; each team has done something else."""
    git(template, "tag", "v1.0.0")
    bases = [fresh(template, folder / f"base-{at}", each) for at, each in enumerate(ANSWERS)]
    listed = {}
    for at in range(many):
        work = folder / "work"
        shutil.copytree(bases[at % len(bases)], work)
        begin(work)
        edit = EDITS[at % len(EDITS)]
        edit(work)
        name = f"{at:03}-{edit.__name__.replace('_', '-')}"
        commit(work, "The team's")
        if edit is has_the_branch:
            git(work, "branch", "template-1.1.0")
        bare = folder / "server" / f"{name}.git"
        git(folder, "clone", "--quiet", "--bare", str(work), str(bare))
        listed[name] = str(bare)
        shutil.rmtree(work)
    (folder / "listed.json").write_text(json.dumps(listed))


def begin(project: Path) -> None:
    """Do what every team does: a model, a module, a verb, a title of its own."""
    (package,) = (project / "src").iterdir()
    add(package / "model.py", "\n# Tuned.\n")
    (package / "own.py").write_text('"""The team\'s."""\n')
    replace(project / "README.md", "## Ten minutes", "## In ten minutes")
    replace(project / "Makefile", "PYTHON ?= python3", "PYTHON ?= python3.12")


def only_begins(project: Path) -> None:
    """Leave the rest as it is."""


def renames_a_page(project: Path) -> None:
    """Give a page another name."""
    (project / "docs" / "app.md").rename(project / "docs" / "page.md")


def deletes_a_page(project: Path) -> None:
    """Do without a page."""
    (project / "docs" / "batch.md").unlink()


def edits_the_platforms(project: Path) -> None:
    """Edit a line that the template changes, too."""
    (package,) = (project / "src").iterdir()
    replace(package / "tables.py", '"""', '"""Ours. ')


def moves_a_folder(project: Path) -> None:
    """Give a folder another name."""
    (project / "docs" / "runbooks").rename(project / "docs" / "alerts")


def fails_its_check(project: Path) -> None:
    """Break something."""
    (project / "broken").touch()


def has_the_branch(project: Path) -> None:
    """Have the branch of this version already."""
    add(project / "data" / "README.md", "\nOurs.\n")


EDITS: tuple[Callable[[Path], None], ...] = (
    *(only_begins, renames_a_page, only_begins, deletes_a_page, edits_the_platforms),
    *(only_begins, renames_a_page, moves_a_folder, deletes_a_page, only_begins),
    *(only_begins, renames_a_page, fails_its_check, deletes_a_page, edits_the_platforms),
    *(only_begins, has_the_branch, moves_a_folder, deletes_a_page, only_begins),
)


def change(render: Path) -> None:
    """Change the template where teams have been, and where they have not."""
    for name in ("docs/app.md", "docs/batch.md", "README.md", "docs/runbooks/ModelDown.md"):
        add(render / name, "\nMore.\n")
    add(render / "app" / "main.py", "# More.\n")
    replace(render / "Makefile", "ALIAS ?= champion", "ALIAS ?= challenger")
    tables = render / "src" / "{{cookiecutter.package_name}}" / "tables.py"
    replace(tables, '"""', '"""More. ')
    (render / "docs" / "releasing.md").rename(render / "docs" / "release.md")
    (render / "docs" / "new.md").write_text("New.\n")


def add(path: Path, text: str) -> None:
    """Add to a file."""
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def replace(path: Path, old: str, new: str) -> None:
    """Replace the first of a text in a file that has it."""
    text = path.read_text(encoding="utf-8")
    if old not in text:
        raise ValueError(f"{path} does not have {old!r}")
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def roll_out(template: Path, folder: Path) -> float:
    """Roll the second version out; return the processor time of all that ran for it."""
    config = folder / "all-repos.json"
    settings = {
        "output_dir": "clones",
        "source": "all_repos.source.json_file",
        "source_settings": {"filename": str(folder / "listed.json")},
        "push": "push_branch",
        "push_settings": {},
    }
    config.write_text(json.dumps(settings))
    config.chmod(0o600)
    command = [sys.executable, ROOT / "fleet" / "rollout.py", "--config", config, "--push"]
    command += ["--template", template, "--state", folder / "state", "--jobs", "2"]
    before = os.times()
    done = subprocess.run(
        [*command, "--check", "test ! -e broken"], capture_output=True, text=True, check=False
    )
    after = os.times()
    if done.returncode == 2:
        raise RuntimeError(done.stderr)
    print(*(line for line in done.stdout.splitlines() if not line.startswith("  ")), sep="\n")
    children = (after.children_user, after.children_system)
    return sum(children) - before.children_user - before.children_system


if __name__ == "__main__":
    sys.exit(main())
