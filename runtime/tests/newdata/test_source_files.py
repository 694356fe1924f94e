from pathlib import Path

import pytest

import small_repository
from modelloop import Project
from modelloop.errors import UserError
from modelloop.newdata import source_files

SOURCE = '''"""What it is."""

import os
from pathlib import Path

FIRST = 1  # the first


def _double(x: int) -> int:
    return 2 * x


SECOND: list[int] = [
    _double(1),
    _double(2),
]


def third() -> str:
    """The third."""
    return os.sep + str(Path())
'''


@pytest.fixture
def own(repository: Project) -> Path:
    """A module in the repository's folder, committed."""
    path = repository.root / "own.py"
    path.write_text(SOURCE)
    small_repository.git(repository.root, "add", "own.py")
    small_repository.git(repository.root, "commit", "--quiet", "--message=own")
    return path


def test_only_what_is_assigned_and_what_nothing_uses_any_more_changes(repository, own):
    other = source_files.with_assignments(repository, own, {"SECOND": "SECOND = [ 'a' ]"})
    start, _, rest = SOURCE.partition("\n\ndef _double")
    assert other == start + '\n\nSECOND = ["a"]\n\n\n' + rest[rest.index("def third") :]
    same = {"FIRST": "FIRST = 1  # the first"}
    assert source_files.with_assignments(repository, own, same) == SOURCE


def test_a_name_that_is_not_there_is_named(repository, own):
    others = {"FIRST": "FIRST = 2", "THIRD": "THIRD = 3"}
    with pytest.raises(UserError, match=r"^own\.py assigns nothing to THIRD$"):
        source_files.with_assignments(repository, own, others)


def test_a_module_that_is_no_python_is_named(repository, own):
    own.write_text("FIRST = 1\nif\n")
    with pytest.raises(UserError, match=r"^own\.py, line 2: invalid syntax"):
        source_files.with_assignments(repository, own, {"FIRST": "FIRST = 2"})


def test_a_module_that_cannot_be_formatted_is_named(repository, own):
    answers = repository.root / "pyproject.toml"
    answers.write_text(answers.read_text().replace("line-length = 100", "line-length = 'long'"))
    with pytest.raises(UserError, match=r"^own\.py cannot be formatted: (?s:.*)line-length"):
        source_files.with_assignments(repository, own, {"FIRST": "FIRST = 2"})


def test_what_git_has_may_go(repository, own):
    source_files.refuse_uncommitted(repository, [own, own.with_name("not-there.py")])


@pytest.mark.parametrize("name", ["own.py", "new.py"])
def test_what_git_has_not_is_refused(repository, own, name):
    own.with_name(name).write_text("changed")
    with pytest.raises(UserError, match=f"^{name} would be lost: commit the changes first"):
        source_files.refuse_uncommitted(repository, [own.with_name(name)])


def test_without_git_nothing_could_be_restored(project, tmp_path):
    (tmp_path / "pyproject.toml").write_bytes((project.root / "pyproject.toml").read_bytes())
    without_git = Project.at(tmp_path)
    with pytest.raises(UserError, match=r"git could not give own\.py back: .*not a git repository"):
        source_files.refuse_uncommitted(without_git, [tmp_path / "own.py"])


def test_files_are_written_and_removed_together(tmp_path):
    (tmp_path / "own.py").write_text(SOURCE)
    source_files.write({tmp_path / "own.py": None, tmp_path / "b": "é", tmp_path / "c": b"\0"})
    assert not (tmp_path / "own.py").exists()
    assert (tmp_path / "b").read_text(encoding="utf-8") == "é"
    assert (tmp_path / "c").read_bytes() == b"\0"


def test_after_an_error_everything_is_as_before(tmp_path):
    (tmp_path / "own.py").write_text(SOURCE)
    files = {tmp_path / "own.py": "other", tmp_path / "b": "b", tmp_path / "no" / "c": "c"}
    with pytest.raises(UserError, match="No such file or directory; nothing was changed"):
        source_files.write(files)
    assert (tmp_path / "own.py").read_text() == SOURCE
    assert {path.name for path in tmp_path.iterdir()} == {"own.py"}
