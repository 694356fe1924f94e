import subprocess
from pathlib import Path

import pytest

from {{ cookiecutter.package_name }} import own_files
from {{ cookiecutter.package_name }}.errors import UserError

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
def repository(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(own_files, "ROOT", tmp_path)
    (tmp_path / "own.py").write_text(SOURCE)
    git = ["git", "-c", "user.name=somebody", "-c", "user.email=somebody@example.com"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first", "--no-verify"]):
        subprocess.run([*git, *command], cwd=tmp_path, check=True)
    return tmp_path


def test_only_what_is_assigned_and_what_nothing_uses_any_more_changes(repository):
    found = own_files.assigned(repository / "own.py", {"SECOND": "SECOND = [ 'a' ]"})
    start, _, rest = SOURCE.partition("\n\ndef _double")
    assert found == start + '\n\nSECOND = ["a"]\n\n\n' + rest[rest.index("def third") :]
    assert own_files.assigned(repository / "own.py", {"FIRST": "FIRST = 1  # the first"}) == SOURCE


def test_a_name_that_is_not_there_is_named(repository):
    with pytest.raises(UserError, match=r"own\.py assigns nothing to THIRD$"):
        own_files.assigned(repository / "own.py", {"FIRST": "FIRST = 2", "THIRD": "THIRD = 3"})


def test_a_module_that_is_no_python_is_named(repository):
    (repository / "own.py").write_text("FIRST = 1\nif\n")
    with pytest.raises(UserError, match=r"own\.py, line 2: invalid syntax"):
        own_files.assigned(repository / "own.py", {"FIRST": "FIRST = 2"})


def test_what_git_has_may_go(repository):
    own_files.refuse_uncommitted([repository / "own.py", repository / "not-there.py"])


@pytest.mark.parametrize("name", ["own.py", "new.py"])
def test_what_git_has_not_is_refused(repository, name):
    (repository / name).write_text("changed")
    with pytest.raises(UserError, match=f"{name} would be lost: commit the changes first"):
        own_files.refuse_uncommitted([repository / name])


def test_without_git_nothing_could_be_given_back(tmp_path, monkeypatch):
    monkeypatch.setattr(own_files, "ROOT", tmp_path)
    with pytest.raises(UserError, match=r"git could not give own\.py back: .*not a git repository"):
        own_files.refuse_uncommitted([tmp_path / "own.py"])


def test_files_are_written_and_removed_together(repository):
    own_files.write({repository / "own.py": None, repository / "b": "é", repository / "c": b"\0"})
    assert not (repository / "own.py").exists()
    assert (repository / "b").read_text(encoding="utf-8") == "é"
    assert (repository / "c").read_bytes() == b"\0"


def test_after_an_error_everything_is_as_before(repository):
    files = {repository / "own.py": "other", repository / "b": "b", repository / "no" / "c": "c"}
    with pytest.raises(UserError, match="No such file or directory; nothing was changed"):
        own_files.write(files)
    assert (repository / "own.py").read_text() == SOURCE
    assert {path.name for path in repository.iterdir()} == {"own.py", ".git"}
