"""What the pages of the library say is there: pages, links, verbs, variables, files, names."""

import ast
import importlib
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import modelloop
from modelloop import Project
from modelloop.cli import main
from modelloop.docs import site
from modelloop.testing import plugin

LIBRARY = Path(modelloop.__file__).parent
TEMPLATE = Path(__file__).resolve().parents[2] / "{{cookiecutter.project_slug}}"
NAMES = sorted(path.stem for path in site.PAGES.glob("*.md"))
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")

# What other programs read.
FOREIGN = {
    "AIRFLOW_CONN_KUBEFLOW",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_TENANT_ID",
    "CRON_SCHEDULE_TIMEZONE",
    "SSL_CERT_FILE",
    "STREAMLIT_BROWSER_SERVER_ADDRESS",
}
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
PATH = re.compile(r"[\w.*<>-]+(/[\w.*<>-]+)*/?")
ENDINGS = (".py", ".toml", ".yaml", ".ipynb", ".in", ".Dockerfile", ".md")
VARIABLE = re.compile(r"(?<![A-Za-z_<])[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+(?![A-Za-z_])")
every_page = pytest.mark.parametrize("name", NAMES)


@cache
def text(name: str) -> str:
    return (site.PAGES / f"{name}.md").read_text(encoding="utf-8")


def pieces(page: str) -> Iterator[str]:
    """The code of a page: each span, and each line of the blocks that are commands."""
    for _, language, block in FENCE.findall(page):
        if not language:
            for line in block.splitlines():
                yield re.split(r" {2,}|\s#\s", line.strip())[0]
    yield from re.findall(r"`([^`\n]+)`", FENCE.sub("", page))


class Repository:
    """What a repository has, whatever was answered."""

    def __init__(self, project: Project) -> None:
        self.project = project
        listed = subprocess.run(
            ["git", "ls-files"], cwd=project.root, capture_output=True, text=True, check=True
        )
        in_template = [
            path.relative_to(TEMPLATE).as_posix()
            for path in TEMPLATE.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        ]
        of_option = re.compile(r"__[a-z0-9-]+(?=[./])")  # dags__airflow/, endpoint__azureml.toml
        optional = [of_option.sub("", path) for path in in_template if of_option.search(path)]
        files = [*listed.stdout.splitlines(), *map(self.named, optional)]
        self.files = {
            "/".join(names[first:last])
            for names in (file.split("/") for file in files)
            for last in range(1, len(names) + 1)
            for first in range(last)
        }
        self.folders = {file.split("/")[0] for file in files if "/" in file}
        makefile = (TEMPLATE / "Makefile").read_text(encoding="utf-8")
        self.verbs = {*re.findall("^([a-z-]+):.*## ", makefile, re.MULTILINE)}
        self.verbs.add("wheel")  # of the template, for a library of one's own
        given = r"\$[({]+([A-Z_]+)|^([A-Z_]+) \?="
        self.variables = {
            name for both in re.findall(given, makefile, re.MULTILINE) for name in both
        }
        sources = [
            *project.root.rglob("src/**/*.py"),
            *TEMPLATE.rglob("*airflow/*.py"),
            *(path for path in LIBRARY.rglob("*.py")),
        ]
        self.words = {
            word
            for path in sources
            for word in re.findall(r"[A-Z][A-Z0-9_]+", path.read_text(encoding="utf-8"))
        }

    def named(self, path: str) -> str:
        for mark, name in {
            "<slug>": self.project.slug,
            "<package>": self.project.package,
            "{{cookiecutter.project_slug}}": self.project.slug,
            "{{cookiecutter.package_name}}": self.project.package,
        }.items():
            path = path.replace(mark, name)
        return path

    def has(self, path: str) -> bool:
        """Whether there is such a file or folder, here, in the library, or made by a verb."""
        wanted = self.named(path.rstrip("/"))
        if wanted.startswith(("build", "mlruns", ".venv")) or wanted in self.files:
            return True
        if (LIBRARY.parent / wanted).exists() or any(LIBRARY.rglob(f"*/{wanted}")):
            return True
        pattern = re.escape(wanted).replace(r"\*", "[^/]*")
        return "*" in wanted and any(re.fullmatch(pattern, file) for file in self.files)


@pytest.fixture(scope="module")
def repository(project: Project) -> Repository:
    return Repository(project)


@cache
def variables() -> set[str]:
    """Every variable that the library reads from the environment."""
    return {
        line.target.id.upper()
        for path in LIBRARY.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and "Environment" in map(ast.unparse, node.bases)
        for line in node.body
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)
    }


def faults_of(piece: str, there: Repository) -> Iterator[str]:
    """What a piece of code names that is not there."""
    inside = "/" in piece and piece.split("/")[0] in there.folders | {"modelloop"}
    is_path = PATH.fullmatch(piece) and (inside or piece.endswith(ENDINGS))
    if is_path and not there.has(piece):
        yield f"no {piece}"
    for verbs in re.findall(r"(?:^|\s)make((?: [^\s|&;]+)+)", piece):
        for word in re.sub(r'="[^"]*"', "=", verbs).split():
            name, is_given, _ = word.partition("=")
            if is_given:
                if name not in there.variables | variables():
                    yield f"no variable {name}"
            elif word not in there.verbs:
                yield f"no verb {word}"
    for verb in re.findall(r"\bmodelloop ([a-z][a-z-]+)", piece):
        if verb not in main.commands:
            yield f"no verb {verb} of modelloop"
    for name in VARIABLE.findall(piece):
        if name not in variables() | there.variables | there.words | FOREIGN:
            yield f"no source knows {name}"


def test_every_page_is_in_the_navigation_once():
    listed = [name for names in site.navigation().values() for name in names]
    assert sorted(listed) == NAMES


@every_page
def test_a_page_has_one_title_and_it_is_the_first_heading(name: str):
    assert [section.level == 1 for section in site.read(name).sections].count(True) == 1
    assert site.read(name).sections[0].level == 1


@every_page
def test_every_link_and_anchor_leads_somewhere(name: str):
    pages = {each: site.read(each) for each in NAMES}
    for target in pages[name].links:
        if re.match("https?:", target):
            continue
        page, _, anchor = target.partition("#")
        assert (page.removesuffix(".md") or name) in pages, target
        found = pages[page.removesuffix(".md") or name].sections
        assert not anchor or anchor in [section.anchor for section in found], target


@every_page
def test_what_stands_in_code_is_there(repository: Repository, name: str):
    assert [
        f"{piece}: {fault}"
        for piece in pieces(text(name))
        for fault in faults_of(piece, repository)
    ] == []


@pytest.mark.parametrize(
    ("piece", "fault"),
    [
        ("make train", None),
        ("make train gate MODEL=build/model.json", None),
        ('make schedule CRON="0 3 * * 1"', None),
        ("make airflow-test", None),
        ("make trian", "no verb trian"),
        ("make train DATA_URL=rows.csv", "no variable DATA_URL"),
        (".venv-serve/bin/modelloop receive", None),
        ("modelloop recieve", "no verb recieve of modelloop"),
        ("SERVE_WORKERS", None),
        ("AZURE_ML_WORKSPACE", None),
        ("RETRAIN_GRACE_SECONDS", None),
        ("SERVE_WORKER", "no source knows SERVE_WORKER"),
        ("src/<package>/data.py", None),
        ("ci/<slug>.gocd.yaml", None),
        ("deploy/endpoint.toml", None),
        ("dags/<package>.py", None),
        ("modelloop/settings.py", None),
        ("requirements/*.txt", None),
        ("src/<package>/nowhere.py", "no src/<package>/nowhere.py"),
        ("nowhere.py", "no nowhere.py"),
        ("modelloop/setting.py", "no modelloop/setting.py"),
        ("requirements/*.lock", "no requirements/*.lock"),
        ("application/json", None),
    ],
)
def test_a_fault_is_noticed_and_nothing_else_is(
    repository: Repository, piece: str, fault: str | None
):
    assert [*faults_of(piece, repository)][:1] == ([fault] if fault else [])


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return site.write(tmp_path_factory.mktemp("docs") / "docs", "1.2.3").parent


def test_the_site_is_every_page_and_asks_no_other_host(written: Path):
    pages = [*written.glob("*.html")]
    assert {page.stem for page in pages} == {*NAMES}
    for page in pages:
        html = page.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="([^"]*)"', html)
        assert {*loaded} == {"site.css", "search-index.js", "search.js"}
        assert all((written / name).is_file() for name in loaded)
        assert "1.2.3" in html
        for target in re.findall(r'<a href="([^"#]+)', html):
            assert target.startswith("https://") or (written / target).is_file(), target
    for name in ("site.css", "search.js"):
        assert "http" not in (written / name).read_text(encoding="utf-8")
        assert "import" not in (written / name).read_text(encoding="utf-8")


def test_the_index_of_the_search_has_every_section_with_its_text(written: Path):
    script = (written / "search-index.js").read_text(encoding="utf-8")
    entries = json.loads(script.removeprefix("const SECTIONS = ").rstrip().removesuffix(";"))
    for name in NAMES:
        sections = site.read(name).sections
        addresses = [f"{name}.html#{section.anchor}" for section in sections]
        assert len({*addresses}) == len(addresses)
        assert {*addresses} <= {entry["address"] for entry in entries}
        html = (written / f"{name}.html").read_text(encoding="utf-8")
        assert all(f'id="{section.anchor}"' in html for section in sections)
    (drift,) = [entry for entry in entries if entry["address"] == "monitoring.html#drift"]
    assert drift["page"] == "Monitoring"
    assert "population stability index" in drift["text"]


@pytest.mark.skipif(BROWSER is None, reason="there is no chromium on the PATH")
@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("expected accuracy", "monitoring.html#is-it-right"),
        ("stability index", "monitoring.html#drift"),
        ("feedback", "server.html#feedback"),
        ("no-such-word", None),
    ],
)
def test_the_search_finds_a_section_in_a_browser(
    written: Path, tmp_path: Path, query: str, first: str | None
):
    options = "headless no-sandbox disable-gpu disable-quic no-first-run disable-sync dump-dom"
    options += " disable-background-networking disable-component-update disable-dev-shm-usage"
    flags = [f"--{option}" for option in options.split()]
    address = f"{(written / 'index.html').as_uri()}?q={query.replace(' ', '+')}"
    done = subprocess.run(
        [BROWSER, *flags, f"--user-data-dir={tmp_path}", address],
        capture_output=True,
        text=True,
        timeout=60,
    )
    shown = done.stdout.partition('<main id="found">')[2].partition("</main>")[0]
    assert shown, done.stderr
    assert re.findall(r'<a href="([^"]+)"', shown)[:1] == ([first] if first else [])
    assert ("<mark>" in shown) == bool(first)


def call(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "modelloop", *arguments],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_verb_writes_the_pages_into_the_repository(project: Project):
    done = call(project.root / "src", "docs", "--no-browser")
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == project.build / "docs" / "index.html"
    assert modelloop.__version__ in Path(done.stdout.strip()).read_text(encoding="utf-8")


def test_outside_of_a_repository_they_go_into_a_cache(tmp_path: Path):
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    for folder in (home, elsewhere):
        folder.mkdir()
    done = call(elsewhere, "docs", "--no-browser", HOME=str(home))
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(home / ".cache")
    assert not [*elsewhere.iterdir()]


def test_a_folder_that_is_named_must_be_a_repository(tmp_path: Path):
    done = call(tmp_path, "--project", str(tmp_path), "docs", "--no-browser")
    assert done.returncode == 1
    assert "is no model repository" in done.stderr


def documented() -> Iterator[tuple[str, str | None]]:
    """Every public name with its module and, of what is called, its parameters."""
    module = "modelloop"
    for line in text("api").splitlines():
        if line.startswith("## "):  # below another heading than a module's, names are whole
            heading = re.fullmatch(r"## `([\w.]+)`", line)
            module = f"{heading[1]}." if heading else ""
        elif line.startswith("| `"):
            for entry in re.findall(r"`([^`]+)`", line.split(" | ")[0]):
                name, has, parameters = entry.rstrip(")").partition("(")
                yield f"{module}{name}", parameters if has else None


DOCUMENTED = dict(documented())
FIXTURES = {
    f"modelloop.testing.{name}"
    for name, value in vars(plugin).items()
    if type(value).__name__ == "FixtureFunctionDefinition"
}


@pytest.mark.parametrize("name", sorted(DOCUMENTED.keys() - FIXTURES))
def test_a_documented_name_exists_with_its_parameters(name: str):
    found = resolved(name)
    parameters = DOCUMENTED[name]
    if parameters is not None:
        names = [each for each in inspect.signature(found).parameters if each != "self"]
        assert names == [each.strip() for each in parameters.split(",") if each.strip()]


def resolved(name: str) -> object:
    """The object of a dotted name, below its module; a field that only instances have is None."""
    first, *parts = name.split(".")
    found: object = importlib.import_module(first)
    for part in parts:
        if inspect.ismodule(found) and not hasattr(found, part):
            importlib.import_module(f"{found.__name__}.{part}")
        is_field = inspect.isclass(found) and (
            part in found.__annotations__ or f"self.{part}" in inspect.getsource(found)
        )
        assert hasattr(found, part) or is_field, f"{name}: no {part}"
        found = getattr(found, part, None)
    return found


@pytest.mark.parametrize("module", ["modelloop", "modelloop.serving", "modelloop.app"])
def test_every_exported_name_is_documented(module: str):
    exported = importlib.import_module(module).__all__
    assert {f"{module}.{name}" for name in exported} - {*DOCUMENTED} == set()


def test_the_documented_fixtures_are_those_of_the_plugin():
    of_testing = re.compile(r"modelloop\.testing\.\w+")  # promtool's names have more parts
    assert {name for name in DOCUMENTED if of_testing.fullmatch(name)} == FIXTURES


def used_of_the_library(source: str) -> Iterator[str]:
    """What a module imports of the library; of an imported module, what it takes from it."""
    tree = ast.parse(source)
    modules = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("modelloop"):
            for each in node.names:
                name = f"{node.module}.{each.name}"
                if inspect.ismodule(resolved(name)):
                    modules[each.name] = name
                else:
                    yield name
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=attribute) if name in modules:
                yield f"{modules[name]}.{attribute}"


def test_whatever_a_repository_uses_is_documented(project: Project):
    sources = [
        path.read_text(encoding="utf-8")
        for folder in ("src", "app", "tests")
        for path in (project.root / folder).rglob("*.py")
    ]
    for path in (project.root / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        sources.append("\n".join(code))
    used = {name for source in sources for name in used_of_the_library(source)}
    assert len(used) > 30
    assert used - DOCUMENTED.keys() == set()
