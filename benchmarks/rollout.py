"""Measure a roll-out, over repositories as teams leave them, against the start of cookiecutter.

Processor time of a repository's update, over that of `cookiecutter --version` in the same run.

`python benchmarks/rollout.py [how many] [folder]`; the folder stays, to look at.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from conftest import commit, copy_of_template, fresh, git  # noqa: E402

from render import seconds  # noqa: E402

LIMIT = 6.0  # starts of cookiecutter
STARTS = 5  # measured before the roll-out, and after it
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
        starts = [seconds("--version") for _ in range(STARTS)]
        used = roll_out(template, folder) / many
        starts += [seconds("--version") for _ in range(STARTS)]
    start = statistics.median(starts)
    ratio = used / start
    verdict = f"more than {LIMIT}: FAIL" if ratio > LIMIT else f"at most {LIMIT}"
    print(
        f"roll-out: {used:.2f} s of processor time a repository, a start of cookiecutter "
        f"{start:.2f} s; ratio {ratio:.1f}, {verdict}"
    )
    return int(ratio > LIMIT)


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
    (project / "docs" / "decisions.md").rename(project / "docs" / "why.md")


def deletes_a_page(project: Path) -> None:
    """Do without a page."""
    (project / "docs" / "model-card.md").unlink()


def edits_the_platforms(project: Path) -> None:
    """Edit a line that the template changes, too."""
    (package,) = (project / "src").iterdir()
    replace(package / "tracking.py", '"""', '"""Ours. ')


def moves_a_folder(project: Path) -> None:
    """Give a folder another name."""
    (project / "containers").rename(project / "images")


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
    for name in ("docs/decisions.md", "docs/model-card.md", "README.md"):
        add(render / name, "\nMore.\n")
    for name in ("app/demo.py", "containers/app.Dockerfile"):
        add(render / name, "# More.\n")
    replace(render / "Makefile", "ALIAS ?= champion", "ALIAS ?= challenger")
    tracking = render / "src" / "{{cookiecutter.package_name}}" / "tracking.py"
    replace(tracking, '"""', '"""More. ')
    (render / "docs" / "runbooks.md").rename(render / "docs" / "alerts.md")
    (render / "docs" / "new.md").write_text("New.\n")
    # A release of the library: another wheel, and its line in the locks.
    (wheel,) = (render / "vendor").glob("*.whl")
    new = wheel.rename(wheel.with_name("modelloop-99.0.0-py3-none-any.whl"))
    new.write_bytes(new.read_bytes() + b"more")
    version = wheel.name.split("-")[1]
    for lock in ("main.txt", "serve.txt"):
        replace(render / "requirements" / lock, f"modelloop=={version}", "modelloop==99.0.0")


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
