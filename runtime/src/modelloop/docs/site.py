"""The pages beside this module as a folder of HTML: read and searched without a network.

A page is a Markdown file. index.md lists all of them, and the navigation follows its order.
"""

import html
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from string import Template

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

PAGES = Path(__file__).parent
ASSETS = ("site.css", "search.js")
FIRST = "index"


@dataclass(frozen=True)
class Section:
    """A heading with what stands below it, without marks: the search looks in it."""

    heading: str
    anchor: str  # the id of the heading in HTML
    level: int  # 1 is the page's title
    text: str


@dataclass(frozen=True)
class Page:
    """A page; its first section is the one of its title."""

    name: str  # of the file, without ending
    body: str  # HTML
    links: list[str]  # targets as they stand in the Markdown
    sections: list[Section]

    @property
    def title(self) -> str:
        """The first heading."""
        return self.sections[0].heading


def write(folder: Path, version: str) -> Path:
    """Write all pages into a folder.

    Args:
        folder: made where there is none; what lies in it is removed.
        version: of the library, shown on each page.

    Returns:
        The file of the first page.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in ASSETS:
        shutil.copyfile(PAGES / name, folder / name)
    chapters = navigation()
    pages = {name: read(name) for names in chapters.values() for name in names}
    frame = Template((PAGES / "page.html").read_text(encoding="utf-8"))
    for page in pages.values():
        text = frame.substitute(
            title=html.escape(page.title),
            version=html.escape(version),
            navigation=_navigation_html(chapters, pages, page),
            body=page.body,
        )
        (folder / f"{page.name}.html").write_text(text, encoding="utf-8")
    entries = json.dumps(search_index([*pages.values()]), ensure_ascii=False)
    (folder / "search-index.js").write_text(f"const SECTIONS = {entries};\n", encoding="utf-8")
    return folder / f"{FIRST}.html"


def navigation() -> dict[str, list[str]]:
    """The names of all pages by chapter, as the headings and links of index.md have them."""
    chapters: dict[str, list[str]] = {"": [FIRST]}
    chapter = ""
    for before, token in pairwise(_parsed(FIRST)):
        if before.type == "heading_open":
            chapter = _plain(token)
            chapters[chapter] = []
        for target in _targets(token):
            if re.fullmatch(r"[\w-]+\.md", target) and chapter:
                chapters[chapter].append(target.removesuffix(".md"))
    return {name: pages for name, pages in chapters.items() if pages}


def read(name: str) -> Page:
    """Read a page.

    Raises:
        OSError: there is no page of this name.
    """
    tokens = _parsed(name)
    sections: list[Section] = []
    for before, token in pairwise(tokens):
        if before.type == "heading_open":
            anchor = _free_anchor(_plain(token), sections)
            before.attrSet("id", anchor)
            sections.append(Section(_plain(token), anchor, int(before.tag[1]), ""))
        elif token.type in ("inline", "fence") and sections:
            last = sections[-1]
            text = f"{last.text} {_plain(token)}".strip()
            sections[-1] = Section(last.heading, last.anchor, last.level, text)
    links = [target for token in tokens for target in _targets(token)]
    body = MARKDOWN.renderer.render(tokens, MARKDOWN.options, {})
    return Page(name, body, links, sections)


def search_index(pages: Sequence[Page]) -> list[dict[str, str]]:
    """What the search knows: an entry for each section, with its page and its address."""
    return [
        {
            "page": page.title,
            "heading": section.heading,
            "address": f"{page.name}.html#{section.anchor}",
            "text": section.text,
        }
        for page in pages
        for section in page.sections
    ]


def _parsed(name: str) -> list[Token]:
    return MARKDOWN.parse((PAGES / f"{name}.md").read_text(encoding="utf-8"))


def _targets(token: Token) -> list[str]:
    """Where the links of a token lead."""
    children = token.children or []
    return [str(child.attrGet("href")) for child in children if child.type == "link_open"]


def _plain(token: Token) -> str:
    """The text of a token, without marks."""
    if token.type == "fence":
        return token.content
    kept = {"text": "{}", "code_inline": "{}", "softbreak": " ", "hardbreak": " "}
    return "".join(kept.get(child.type, "").format(child.content) for child in token.children or [])


def _free_anchor(heading: str, taken: Sequence[Section]) -> str:
    """The anchor that forges give a heading; those of one name are numbered."""
    anchor = re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
    times = [section.anchor for section in taken].count(anchor)
    return f"{anchor}-{times}" if times else anchor


def _navigation_html(chapters: dict[str, list[str]], pages: dict[str, Page], shown: Page) -> str:
    """The list of pages by chapter; below the page that is shown, its headings."""
    lines = []
    for chapter, names in chapters.items():
        lines += [f"<h2>{html.escape(chapter)}</h2>"] if chapter else []
        lines.append("<ul>")
        for name in names:
            here = ' aria-current="page"' if name == shown.name else ""
            title = html.escape(pages[name].title)
            lines.append(f'<li><a href="{name}.html"{here}>{title}</a>')
            parts = [s for s in pages[name].sections if s.level == 2]
            if here and name != FIRST and parts:
                items = (
                    f'<li><a href="#{part.anchor}">{html.escape(part.heading)}</a></li>'
                    for part in parts
                )
                lines.append(f"<ul>{''.join(items)}</ul>")
            lines.append("</li>")
        lines.append("</ul>")
    return "\n".join(lines)


def _marked(line: str) -> str:
    """A line of a diff; what it adds or removes is marked, the names of files are not."""
    kind = {"+": "ins", "-": "del"}.get(line[:1])
    if kind is None or line.startswith(("+++ ", "--- ")):
        return line
    return f"<{kind}>{line}</{kind}>"


class _Renderer(RendererHTML):
    """HTML as the site needs it: links to pages, tables that scroll, diffs in colour."""

    def link_open(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType
    ) -> str:
        token = tokens[idx]
        target = re.sub(r"^([\w-]+)\.md(?=#|$)", r"\1.html", str(token.attrGet("href")))
        token.attrSet("href", target)
        return self.renderToken(tokens, idx, options, env)

    def table_open(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType
    ) -> str:
        return '<div class="table"><table>\n'

    def table_close(
        self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType
    ) -> str:
        return "</table></div>\n"

    def fence(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        lines = html.escape(tokens[idx].content).splitlines()
        if tokens[idx].info == "diff":
            lines = [_marked(line) for line in lines]
        code = "\n".join(lines)
        return f"<pre><code>{code}\n</code></pre>\n"


MARKDOWN = MarkdownIt("commonmark", {"html": False}, renderer_cls=_Renderer).enable("table")
