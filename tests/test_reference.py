"""The reference is what the sources say."""

import ast
import difflib
import re
from pathlib import Path

import pytest
from conftest import ROOT

import build_reference
import python_source
from build_reference import PAGE, Renders


@pytest.fixture(scope="module")
def renders(tmp_path_factory: pytest.TempPathFactory) -> Renders:
    return build_reference.rendered(tmp_path_factory.mktemp("reference"))


def test_the_page_is_not_stale(renders: Renders):
    new = build_reference.page(renders).splitlines()

    changes = [*difflib.unified_diff(PAGE.read_text().splitlines(), new, "docs", "sources", n=0)]

    assert not changes, "docs/reference.md is stale: make reference\n" + "\n".join(changes)


def settings_with(line: str, folder: Path) -> Path:
    """Copy the library's settings with another line about SERVE_PORT."""
    text = (build_reference.LIBRARY / "settings.py").read_text()
    module = folder / "settings.py"
    module.write_text(re.sub("serve_port: .*", line, text))
    return module


def test_a_change_of_a_source_changes_the_page(tmp_path: Path):
    module = settings_with("serve_port: Port = 9009  # of predictions", tmp_path)

    table = build_reference.environment(module)

    assert "| `SERVE_PORT` | `9009` | 1 to 65535 | of predictions |" in table


def test_a_variable_without_a_comment_is_refused(tmp_path: Path):
    module = settings_with("serve_port: Port = 9000", tmp_path)

    with pytest.raises(ValueError, match=r"settings.py: SERVE_PORT has no comment"):
        build_reference.environment(module)


def test_no_metric_is_missed(renders: Renders):
    """What Prometheus is asked for in rules and tests is in the page."""
    page = PAGE.read_text()
    metrics = {
        word
        for row in build_reference.recording_rules(renders["default"])
        for word in row[1].replace("`", "").split(", ")
        if word and ":" not in word
    }

    assert metrics
    assert {metric for metric in metrics if f"`{metric}`" not in page} == set()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ('""', ""),
        ("None", ""),
        ("10_000", "10000"),
        ("8 * 1024", "8192"),
        ("False", "false"),
        ('Path("data/x.csv")', "data/x.csv"),
        ("LIMIT", "7"),
    ],
)
def test_a_default_is_told_as_it_would_be_typed(tmp_path: Path, code: str, said: str):
    module = tmp_path / "module.py"
    module.write_text("LIMIT = 7\n")

    assert python_source.shown(ast.parse(code, mode="eval").body, module) == said


def test_every_question_and_verb_is_in_the_page(renders: Renders):
    page = PAGE.read_text()

    told = [row[0] for row in build_reference.questions()]
    verbs = [row[0] for row in build_reference.verbs(ROOT)]
    verbs += [row[0] for folder in renders.values() for row in build_reference.verbs(folder)]

    assert [name for name in (*told, *verbs) if f"| `{name}` |" not in page] == []
