"""Build the site of the docs into build/site: `make docs`.

The pages are the Markdown files of docs/ as they are, the README as the first page, CONTRIBUTING
and CHANGELOG. A link to a file of the repository that is not on the site becomes its path.
"""

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build"
PAGES = BUILD / "docs"
SITE = BUILD / "site"
# By their place in the navigation; a page that is not named comes after those that are.
ORDER = (
    "index", "start-a-model", "own-the-layout", "learn-the-structure",
    "loop/data", "loop/train", "loop/gate", "loop/registry", "loop/release", "loop/serve",
    "loop/use", "loop/watch", "loop/retrain", "loop/schedule",
    "reference", "decisions", "limits-and-licences", "serving-speed", "CONTRIBUTING", "CHANGELOG",
)  # fmt: skip
SECTIONS = {"loop": "The loop"}  # the name of a folder of pages


def main() -> int:
    """Build it; 1 when the generator warns of anything."""
    shutil.rmtree(PAGES, ignore_errors=True)
    shutil.rmtree(SITE, ignore_errors=True)
    sources = pages()
    for page, source in sources.items():
        target = PAGES / page
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix == ".md":
            text = source.read_text(encoding="utf-8")
            target.write_text(on_the_site(text, page, sources), encoding="utf-8")
        else:
            shutil.copy(source, target)
    config = (ROOT / "docs_tools" / "mkdocs.yml").read_text(encoding="utf-8")
    lines = navigation([page for page in sources if page.endswith(".md")])
    (BUILD / "mkdocs.yml").write_text(config + "\n".join(["nav:", *lines, ""]), encoding="utf-8")
    build = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run([*build, "--config-file", BUILD / "mkdocs.yml"], check=False)
    if done.returncode == 0:
        print(f"The site is {(SITE / 'index.html').relative_to(ROOT)}")
    return done.returncode


def pages() -> dict[str, Path]:
    """Give every file of the site with the file that it is made from."""
    found = {"index.md": ROOT / "README.md"}
    found |= {name: ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md")}
    for path in sorted((ROOT / "docs").rglob("*")):
        if path.is_file():
            found[path.relative_to(ROOT / "docs").as_posix()] = path
    for name in ("site.css", "iframe-worker.js"):
        found[f"assets/{name}"] = ROOT / "docs_tools" / name
    (mermaid,) = find_spec("mermaidx").submodule_search_locations
    found["assets/mermaid.js"] = Path(mermaid, "assets", "mermaid.js")
    return found


def on_the_site(text: str, page: str, sources: dict[str, Path]) -> str:
    """Let the links of a page lead to where their targets are on the site."""
    places = {source: place for place, source in sources.items()}

    def link(match: re.Match) -> str:
        words, address, anchor = match.groups()
        if re.match("[a-z]+:", address) or not address:
            return match[0]
        target = Path(os.path.normpath(sources[page].parent / address))
        if target in places:
            place = os.path.relpath(places[target], Path(page).parent)
            return f"[{words}]({place}{anchor})"
        if target.exists() and not match.string.startswith("!", match.start() - 1):
            path = target.relative_to(ROOT).as_posix()
            return words if words.strip("`") == path else f"{words} (`{path}`)"
        return match[0]  # the generator says that there is no such page

    return re.sub(r"\[([^\]]*)\]\(([^)#\s]*)(#[^)\s]*|)\)", link, text)


def navigation(names: list[str]) -> list[str]:
    """Give the lines of the navigation, in YAML."""

    def place(name: str) -> tuple[int, str]:
        page = name.removesuffix(".md")
        return ORDER.index(page) if page in ORDER else len(ORDER), page

    lines: list[str] = []
    for name in sorted(names, key=place):
        folder = os.path.dirname(name)
        if not folder:
            lines.append(f"  - {name}")
            continue
        if not lines[-1].startswith(f"      - {folder}/"):
            lines.append(f"  - {SECTIONS.get(folder, folder)}:")
        lines.append(f"      - {name}")
    return lines


if __name__ == "__main__":
    raise SystemExit(main())
