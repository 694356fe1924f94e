"""deploy/release.toml."""

from pathlib import Path

import pytest

from modelloop import Project
from modelloop.errors import UserError
from modelloop.release import plan
from modelloop.release.plan import Plan


def test_the_file_of_a_repository_is_a_plan(project: Project):
    assert Plan.read(plan.path_of(project)).steps[-1] == 100


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"canary"', '"blue"', "strategy: "),
        ("[5, 25, 50, 100]", "[5, 50, 25, 100]", "steps: .*rise and end with 100"),
        ("[5, 25, 50, 100]", "[5, 50]", "steps: .*rise and end with 100"),
        ("[5, 25, 50, 100]", "[]", "steps: "),
        ("[5, 25, 50, 100]", "[0, 100]", "steps.0: "),
        ("min_requests = 100", "min_requests = -1", "min_requests: "),
        ("max_error_share = 0.01", "max_error_share = 1.5", "max_error_share: "),
        ("max_drift = 0.2", "max_drif = 0.2", "max_drif: "),
        ("step_minutes = 10", "step_minutes = ten", "release.toml: "),
    ],
)
def test_what_is_not_allowed_is_named(
    project: Project, tmp_path: Path, old: str, new: str, message: str
):
    text = plan.path_of(project).read_text(encoding="utf-8")
    assert text.count(old) == 1
    file = tmp_path / "release.toml"
    file.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(UserError, match=message):
        Plan.read(file)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(UserError, match=r"nothing\.toml: No such file"):
        Plan.read(tmp_path / "nothing.toml")
