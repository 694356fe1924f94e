"""What the pages say is there: links, headings, verbs, variables, files and commands."""

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from answers import AIRFLOW, AZUREML, REGRESSION, Answers
from conftest import ROOT, Bake, git
from doc_pages import FENCE, Tree, broken_links, faults, faults_of

from build_reference import PAGE, VARIANTS, verbs

QUESTIONS = {
    name for name in json.loads((ROOT / "cookiecutter.json").read_text()) if name[0] != "_"
}
COMMANDS = {
    name.replace("_", "-")
    for module in (ROOT / "runtime" / "src" / "modelloop" / "cli").glob("*.py")
    for name in re.findall(
        r"^@click\.command\(.*?^def (\w+)", module.read_text(), re.MULTILINE | re.DOTALL
    )
}
RENDERS: dict[str, Answers] = {
    "default": {},
    "regression": REGRESSION,
    "azureml": AZUREML,
    "airflow": AIRFLOW,
}
PARSERS = {"yaml": yaml.safe_load, "json": json.loads, "toml": tomllib.loads}


def tree_of(root: Path) -> Tree:
    """Describe a repository."""
    files = set(git(root, "-c", "core.quotePath=off", "ls-files", "-co", "--exclude-standard")
                .splitlines())  # fmt: skip
    makefile = (root / "Makefile").read_text()
    named = re.findall(r"\$[({]([A-Z_]+)|^([A-Z_]+) \?=|\b([A-Z_]+)=", makefile, re.MULTILINE)
    variables = {name for names in named for name in names if name}
    # Whoever runs a verb may give it what the sources read from the environment.
    variables |= set(re.findall(r"^\| `([A-Z_]+)` \|", PAGE.read_text(), re.MULTILINE))
    return Tree([root], files, {row[0] for row in verbs(root)}, variables, QUESTIONS, COMMANDS)


@pytest.fixture(scope="module")
def trees(bake: Bake) -> dict[str, Tree]:
    """Describe the renders, and the template with all that it renders."""
    found = {name: tree_of(bake(**answers)) for name, answers in RENDERS.items()}
    template = tree_of(ROOT)
    everything = [template, *found.values()]
    found["template"] = Tree(
        [root for tree in everything for root in tree.roots],
        set().union(*(tree.files for tree in everything)),
        set().union(*(tree.verbs for tree in everything)),
        set().union(*(tree.variables for tree in everything)),
        QUESTIONS,
        COMMANDS,
    )
    return found


def pages(name: str, tree: Tree) -> list[Path]:
    """List the pages of a render, or those of the template itself."""
    root = ROOT if name == "template" else tree.roots[0]
    names = git(root, "ls-files", "-co", "--exclude-standard", "*.md").splitlines()
    return [root / page for page in names if "cookiecutter.project_slug" not in page]


every_tree = pytest.mark.parametrize("name", ["template", *RENDERS])


def test_the_renders_are_those_of_the_reference():
    assert RENDERS.keys() == VARIANTS.keys()


@every_tree
def test_every_link_leads_somewhere(trees: dict[str, Tree], name: str):
    found = pages(name, trees[name])

    assert len(found) >= 3
    assert [f"{page.name}: {fault}" for page in found for fault in broken_links(page)] == []


@every_tree
def test_what_stands_in_code_is_there(trees: dict[str, Tree], name: str):
    tree = trees[name]

    assert [
        f"{page.name}: {fault}" for page in pages(name, tree) for fault in faults(page, tree)
    ] == []


@every_tree
def test_data_in_blocks_is_read_by_what_reads_its_kind(trees: dict[str, Tree], name: str):
    wrong = []
    for page in pages(name, trees[name]):
        for indent, language, block in FENCE.findall(page.read_text()):
            text = re.sub(f"^{indent}", "", block, flags=re.MULTILINE)
            try:
                PARSERS.get(language, str)(text)
            except ValueError as error:
                wrong.append(f"{page.name}: {error}")
            except yaml.YAMLError as error:
                wrong.append(f"{page.name}: {error}")

    assert wrong == []


@pytest.mark.parametrize(
    ("piece", "fault"),
    [
        ("make demo", None),
        ("make demo PROBLEM_TYPE=regression", None),
        ("DATA_URI=/tmp/rows.csv make train", None),
        ("make demonstrate", "no verb demonstrate"),
        ("make train DATA_URL=rows.csv", "no variable DATA_URL"),
        ("RETRAIN_BACKEND=local", None),
        ("TEST_SHARE", None),
        ("DATA_ADDRESS", "no source knows DATA_ADDRESS"),
        ("src/<package>/data.py", None),
        ("table/validate.py", None),
        ("src/<package>/datum.py", "no such file or folder"),
        ("datum.py", "no such file or folder"),
        ("deploy/*.toml", None),
        ("deploy/*.ini", "no such file or folder"),
        ("build/render/", None),
        ("registry.example.com/models", None),
        ("cookiecutter path/of/it problem_type=regression --no-input", None),
        ("cookiecutter path/of/it problem=regression", "no question problem"),
        ("cookiecutter path/of/it --no-such-option", "--no-such-option"),
        ("cruft check", None),
        ("cruft inspect", "inspect"),
        ("modelloop new-data", None),
        ("modelloop recieve", "no command recieve"),
        ("kubectl apply -k monitoring", None),
        ("kubectl apply -k deploy/watching", "no such file or folder deploy/watching"),
    ],
)
def test_a_fault_is_noticed_and_nothing_else_is(
    trees: dict[str, Tree], piece: str, fault: str | None
):
    found = "; ".join(faults_of(piece, trees["template"]))

    assert (fault in found) if fault else found == ""


@pytest.mark.parametrize(
    ("link", "fault"),
    [
        ("[x](other.md)", []),
        ("[x](other.md#a-heading-with-code-and-marks)", []),
        ("[x](#here)", []),
        ("`[x](nowhere.md)`", []),
        ("[x](https://example.com)", []),
        ("[x](nowhere.md)", ["nowhere.md: no such file"]),
        ("![x](picture.png)", ["picture.png: no such file"]),
        ("[x](other.md#nothing)", ["other.md#nothing: no such heading"]),
    ],
)
def test_a_broken_link_is_noticed(tmp_path: Path, link: str, fault: list[str]):
    (tmp_path / "other.md").write_text("# A heading, with `code` and marks!\n")
    page = tmp_path / "page.md"
    page.write_text(f"# Here\n\nSee {link}.\n")

    assert [*broken_links(page)] == fault
