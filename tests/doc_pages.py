"""Read pages of documentation: their links, their code, and what in it is wrong."""

import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import click
import typer.main
from cookiecutter.cli import main as cookiecutter
from cruft._cli import app as cruft

FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!\\)\]\(([^)\s]*)\)")
# A path with a folder, or a file of a kind that people do not make up for an example.
PATH = re.compile(r"[\w.*<>{}-]+(/[\w.*<>{}-]+)*/?")
OWN_KINDS = (".py", ".md", ".toml", ".ipynb", ".in", ".sh", ".Dockerfile")
ELSEWHERE = re.compile(r"[\w.-]+\.(com|io|org|local)(:\d+)?/")
# typer has a click of its own.
USAGE = typer.BadParameter.__bases__
NAME = re.compile(r"([A-Z]+(?:_[A-Z]+)+)(?:=.*)?$")
# Variables that other programs read.
FOREIGN = {
    "AIRFLOW_CONN_KUBEFLOW",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_TENANT_ID",
    "COOKIECUTTER_CONFIG",
    "CRON_SCHEDULE_TIMEZONE",
    "SSL_CERT_FILE",
    "STREAMLIT_BROWSER_SERVER_ADDRESS",
}
ASSIGNMENT = re.compile(r"([A-Z_]+)=.*", re.DOTALL)


@dataclass
class Tree:
    """Files that pages speak of, with the verbs and variables that go with them."""

    roots: list[Path]
    files: set[str]
    verbs: set[str]
    variables: set[str]
    questions: set[str]
    commands: set[str]  # of `modelloop`

    @cached_property
    def parts(self) -> set[str]:
        """Every file and folder, by its whole path and by every end of it."""
        found = set()
        for file in self.files:
            names = file.split("/")
            for end in range(1, len(names) + 1):
                found.update("/".join(names[begin:end]) for begin in range(end))
        return found

    @cached_property
    def text(self) -> str:
        """What is written in the files but for the pages: paths that come into being there."""
        texts = []
        for root in self.roots:
            for name in self.files:
                path = root / name
                is_source = path.suffix in (".py", ".yaml", ".toml", "") and name[:6] != "tests/"
                if is_source and path.is_file():
                    texts.append(path.read_text(encoding="utf-8"))
        return "\n".join(texts)

    def has(self, path: str) -> bool:
        """Say whether there is such a file or folder, or a source that makes it."""
        made = path.startswith(("build/", "mlruns/", ".venv"))
        wanted = re.sub(r"<[^>]*>", "*", path).rstrip("/")
        if made or wanted in self.parts or wanted in self.text:
            return True
        if "*" not in wanted:
            return False
        pattern = re.escape(wanted).replace(r"\*\*", ".*").replace(r"\*", "[^/]*")
        return any(re.fullmatch(pattern, part) for part in self.parts)


def without_code(text: str) -> str:
    """Leave out blocks and pieces of code."""
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))


def anchors(text: str) -> set[str]:
    """Give the anchors of a page's headings, as forges make them."""
    found: dict[str, int] = {}
    for heading in re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", words.lower()).strip().replace(" ", "-")
        found[name] = found.get(name, 0) + 1
    return {name if not i else f"{name}-{i}" for name, times in found.items() for i in range(times)}


def broken_links(page: Path) -> Iterator[str]:
    """Give the links of a page that lead nowhere."""
    for link in LINK.findall(without_code(page.read_text(encoding="utf-8"))):
        address, _, anchor = link.partition("#")
        if re.match("[a-z]+:", address):
            continue
        target = (page.parent / address) if address else page
        if not target.exists():
            yield f"{link}: no such file"
        elif anchor and anchor not in anchors(target.read_text(encoding="utf-8")):
            yield f"{link}: no such heading"


def code(text: str) -> Iterator[str]:
    """Give the pieces of code of a page, and the lines of its blocks that are not data."""
    for _, language, block in FENCE.findall(text):
        if language in ("", "sh", "bash", "console"):
            for line in re.sub(r"\\\n *", " ", block).splitlines():
                # What follows wide blanks is said about the command.
                yield re.split(r" {2,}|\s#\s", line.strip())[0]
    yield from re.findall(r"`([^`\n]+)`", FENCE.sub("", text))


def faults(page: Path, tree: Tree) -> Iterator[str]:
    """Give what a page names in code that is not there, or not understood."""
    for piece in code(page.read_text(encoding="utf-8")):
        for fault in faults_of(piece, tree):
            yield f"{piece}: {fault}"


def faults_of(piece: str, tree: Tree) -> Iterator[str]:
    """Give what is wrong with a piece of code."""
    name = NAME.match(piece)
    if name and name[1] not in tree.variables | FOREIGN and name[1] not in tree.text:
        yield f"no source knows {name[1]}"
    if PATH.fullmatch(piece):
        is_path = ("/" in piece and not ELSEWHERE.match(piece)) or piece.endswith(OWN_KINDS)
        named = piece.startswith("<") or re.fullmatch(r"[.*]\w+", piece)  # a host, an ending
        if is_path and not named and not tree.has(piece):
            yield "no such file or folder"
        return
    try:
        words = shlex.split(piece)
    except ValueError:
        return  # no command
    for command in parted(words):
        while command and ASSIGNMENT.fullmatch(command[0]) and len(command) > 1:
            command = command[1:]
        for name, check in CHECKS.items():
            begin = name.split()
            if command[: len(begin)] == begin and len(command) > len(begin):
                yield from check(command[len(begin) :], tree)


def parted(words: list[str]) -> Iterator[list[str]]:
    """Give the commands of a line."""
    command: list[str] = []
    for word in words:
        if word in ("&&", "||", "|", ";"):
            yield command
            command = []
        else:
            command.append(word)
    yield command


def make(arguments: list[str], tree: Tree) -> Iterator[str]:
    """Look for verbs and variables that the Makefile has not."""
    for word in arguments:
        if given := ASSIGNMENT.fullmatch(word):
            if given[1] not in tree.variables:
                yield f"no variable {given[1]}"
        elif word not in tree.verbs and word != "..." and not word.startswith("<"):
            yield f"no verb {word}"


def parse_cookiecutter(arguments: list[str], tree: Tree) -> Iterator[str]:
    """Have cookiecutter read its command line, without running it."""
    try:
        context = cookiecutter.make_context("cookiecutter", arguments)
    except click.UsageError as error:
        yield error.format_message()
        return
    answers = context.params["extra_context"] or {}
    yield from (f"no question {name}" for name in answers if name not in tree.questions)


def parse_cruft(arguments: list[str], tree: Tree) -> Iterator[str]:
    """Have cruft read its command line, without running it."""
    name, *rest = arguments
    command = typer.main.get_command(cruft).commands.get(name)
    if command is None:
        yield f"no command {name}"
    elif rest:
        try:
            command.make_context(name, rest)
        except USAGE as error:
            yield error.format_message()


def modelloop(arguments: list[str], tree: Tree) -> Iterator[str]:
    """Look for a command that the library has not."""
    if arguments[0][0].islower() and arguments[0] not in tree.commands:
        yield f"no command {arguments[0]}"


def kubectl(arguments: list[str], tree: Tree) -> Iterator[str]:
    """Look for folders and files that kubectl is told to apply."""
    for option, value in pairwise(arguments):
        if option in ("-k", "-f", "--kustomize", "--filename") and not tree.has(value):
            yield f"no such file or folder {value}"


CHECKS: dict[str, Callable[[list[str], Tree], Iterator[str]]] = {
    "make": make,
    "cookiecutter": parse_cookiecutter,
    "cruft": parse_cruft,
    "modelloop": modelloop,
    "kubectl apply": kubectl,
}
