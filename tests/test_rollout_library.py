"""A release that changes the library alone reaches twenty repositories without a conflict."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import BIN, ROOT, commit, copy_of_template, fresh, git
from made_template import Project, apply
from test_rollout import Fleet, rows

pytestmark = pytest.mark.slow

BRANCH = "template-1.0.1"
WHEELS = [f"vendor/modelloop-1.0.{patch}-py3-none-any.whl" for patch in (0, 1)]
LOCKS = ["requirements/main.txt", "requirements/serve.txt"]


class ReleasedTemplate:
    """This template with its library, released as 1.0.0."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = copy_of_template(folder)
        listed = git(ROOT, "ls-files", "-co", "--exclude-standard", "runtime", "fleet", "platform")
        for name in listed.splitlines():
            if (ROOT / name).is_file():
                apply(folder, {name: (ROOT / name).read_bytes()})
        apply(folder, {"CHANGELOG.md": "# Changelog\n\n## [Unreleased]\n\n- The first.\n"})
        for key, value in (("user.name", "platform"), ("user.email", "platform@example.com")):
            git(folder, "config", key, value)
        commit(folder, "The template")
        self.release("1.0.0")

    def release(self, version: str) -> None:
        """Release it, as `make release` does."""
        done = subprocess.run(
            [sys.executable, ROOT / "fleet" / "release.py", version],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def generate(self, folder: Path, **answers: str) -> Project:
        """Make a repository."""
        made = fresh(self.folder, folder.with_name(f"{folder.name}-work"), answers)
        made.rename(folder)
        return Project(folder, self)


def edits_model(project: Project) -> None:
    path = "src/penguins/model.py"
    project.edit({path: project.text(path) + "\n# The team's.\n"})


def edits_pipeline(project: Project) -> None:
    path = "src/penguins/pipeline.py"
    project.edit({path: project.text(path) + "\n# The team's.\n"})


def adds_verb(project: Project) -> None:
    project.edit({"Makefile": project.text("Makefile") + "\nours:\n\t@echo ours\n"})


def needs_package(project: Project) -> None:
    """Add a requirement, and compile the lock, which no template has then."""
    path = "requirements/main.in"
    apply(project.folder, {path: project.text(path) + "tqdm\n"})
    lock = ["make", "lock", "MAIN=", f"UV={BIN / 'uv'}"]
    subprocess.run(lock, cwd=project.folder, check=True, capture_output=True)
    commit(project.folder, "The team's")


def untouched(project: Project) -> None:
    pass


WORK: list[Callable[[Project], None]] = [
    untouched,
    edits_model,
    edits_pipeline,
    adds_verb,
    needs_package,
]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """Roll a release of the library out to twenty repositories."""
    folder = tmp_path_factory.mktemp("fleet")
    template = ReleasedTemplate(folder / "template")
    fleet = Fleet(folder, template)
    for at in range(20):
        fleet.add(f"model-{at}", WORK[at % len(WORK)])
    module = template.folder / "runtime" / "src" / "modelloop" / "errors.py"
    module.write_text(module.read_text() + "\n# Changed.\n")
    changelog = template.folder / "CHANGELOG.md"
    changelog.write_text(changelog.read_text().replace("ed]\n", "ed]\n\n- The second.\n", 1))
    commit(template.folder, "The library changes")
    template.release("1.0.1")
    fleet.real = fleet.roll_out("--push", "--check", "true")
    return fleet


def test_all_are_clean(fleet: Fleet):
    assert rows(fleet.real.stdout) == {f"model-{at}": ["clean", ""] for at in range(20)}
    assert fleet.real.returncode == 0


def test_nothing_but_the_wheel_and_its_pins_is_touched(fleet: Fleet):
    for name, address in fleet.listed.items():
        changed = git(Path(address), "diff", "--name-only", "--no-renames", "main", BRANCH)
        assert changed.splitlines() == [".cruft.json", *LOCKS, *WHEELS], name
        lines = git(Path(address), "diff", "--unified=0", "main", BRANCH, "--", *LOCKS)
        touched = [
            line[1:].strip()
            for line in lines.splitlines()
            if line[0] in "+-" and not line.startswith(("+++", "---"))
        ]
        pins = ("modelloop==1.0.0 \\", "modelloop==1.0.1 \\", "--hash=sha256:")
        assert all(line.startswith(pins) for line in touched), f"{name}: {touched}"
        assert len(touched) == 4 * len(LOCKS), name
