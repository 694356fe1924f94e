"""The site of the docs builds without a warning and is read without a network."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import in_a_browser, playwright
from conftest import ROOT
from repository import MINUTES

from build_site import SITE, navigation, on_the_site

SOURCES = {
    "index.md": ROOT / "README.md",
    "CONTRIBUTING.md": ROOT / "CONTRIBUTING.md",
    "own-the-layout.md": ROOT / "docs" / "own-the-layout.md",
    "loop/data.md": ROOT / "docs" / "loop" / "data.md",
    "dashboard.png": ROOT / "docs" / "dashboard.png",
}


@pytest.mark.parametrize(
    ("page", "link", "there"),
    [
        ("index.md", "[x](docs/own-the-layout.md#owners)", "[x](own-the-layout.md#owners)"),
        ("index.md", "![x](docs/dashboard.png)", "![x](dashboard.png)"),
        ("own-the-layout.md", "[x](../CONTRIBUTING.md)", "[x](CONTRIBUTING.md)"),
        ("loop/data.md", "[x](../own-the-layout.md)", "[x](../own-the-layout.md)"),
        ("loop/data.md", "[x](../../README.md)", "[x](../index.md)"),
        ("own-the-layout.md", "[here](#owners)", "[here](#owners)"),
        ("own-the-layout.md", "[x](https://example.com/y#z)", "[x](https://example.com/y#z)"),
        ("own-the-layout.md", "[owners](../fleet/owners.toml)", "owners (`fleet/owners.toml`)"),
        ("own-the-layout.md", "[`fleet/owners.toml`](../fleet/owners.toml)", "`fleet/owners.toml`"),
        ("own-the-layout.md", "[x](no-such-page.md)", "[x](no-such-page.md)"),
    ],
)
def test_a_link_leads_to_where_its_target_is_on_the_site(page: str, link: str, there: str):
    assert on_the_site(f"See {link}.", page, SOURCES) == f"See {there}."


def test_the_navigation_has_every_page_in_the_order_of_reading():
    pages = ["new.md", "reference.md", "loop/train.md", "learn-the-structure.md", "loop/data.md"]

    assert navigation([*pages, "index.md"]) == [
        "  - index.md",
        "  - learn-the-structure.md",
        "  - The loop:",
        "      - loop/data.md",
        "      - loop/train.md",
        "  - reference.md",
        "  - new.md",
    ]


@pytest.fixture(scope="module")
def site() -> Path:
    done = subprocess.run(
        ["make", "docs"], cwd=ROOT, capture_output=True, text=True, timeout=10 * MINUTES
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in (done.stdout + done.stderr).lower()
    return SITE


@pytest.fixture
def page(browser: "playwright.Browser") -> Iterator["playwright.Page"]:
    """Open pages; in the end nothing was asked of another host, and nothing failed."""
    opened = browser.new_page()
    asked: list[str] = []
    faults: list[str] = []
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("requestfailed", lambda request: faults.append(request.url))
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on(
        "console",
        lambda said: faults.append(said.text) if said.type in ("error", "warning") else None,
    )
    yield opened
    opened.close()
    assert asked
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert faults == []


@pytest.mark.slow
@in_a_browser
def test_every_page_is_shown_with_its_pictures_and_diagrams(site: Path, page: "playwright.Page"):
    shown = {path.relative_to(site).as_posix() for path in site.rglob("*.html")} - {"404.html"}
    sources = {path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")}
    diagrams = 0

    for name in sorted(shown):
        page.goto(f"file://{site / name}")
        playwright.expect(page.get_by_role("heading", level=1)).to_be_visible()
        source = ROOT / "docs" / Path(name).with_suffix(".md")
        fences = re.findall(r"^```mermaid$", source.read_text(), re.M) if source.exists() else []
        drawn = page.locator("div.mermaid")
        playwright.expect(drawn).to_have_count(len(fences), timeout=MINUTES * 1000)
        diagrams += len(fences)
        for diagram in drawn.all():
            assert diagram.bounding_box()["height"] > 100
        broken = "[...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.src)"
        page.wait_for_load_state()
        assert page.evaluate(broken) == []

    assert diagrams
    assert {path.with_suffix(".html").as_posix() for path in sources} <= shown


@pytest.mark.slow
@in_a_browser
def test_the_search_finds_a_page_without_a_server(site: Path, page: "playwright.Page"):
    page.goto(f"file://{site / 'index.html'}")

    page.get_by_role("button", name="Search").click()
    page.keyboard.type("owners")

    found = page.get_by_role("option", name=re.compile("Files and their owners"))
    playwright.expect(found.first).to_be_visible(timeout=MINUTES * 1000)
    found.first.click()
    playwright.expect(page).to_have_url(re.compile("reference.html"))
