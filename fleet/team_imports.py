"""Let the team's own modules find what moved from the repository into the library.

Nothing but import lines, and the constants of project.py, are changed, and only where the module is
not in the repository any more. What moved.toml does not know is named for a person.
"""

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from git_tool import Entry, Files, read, write

TABLE = tomllib.loads(Path(__file__).with_name("moved.toml").read_text(encoding="utf-8"))


def follow(project: Path, old: Files, ours: Files, merged: Files, known: set[str]) -> list[str]:
    """Change the imports of the team's modules in the merged files.

    Args:
        project: The repository.
        old: The template's files before.
        ours: The repository's files before.
        merged: What was merged; changed here.
        known: Files of the template that were merged line by line: those follow by themselves.

    Returns:
        A line for each import that a person must change.
    """
    gone = {module for path in old if (module := module_of(path)) and path not in merged}
    if not gone:
        return []
    left = []
    for path in sorted(merged):
        if not path.endswith(".py") or path in known or merged[path] != ours.get(path):
            continue
        text = read(project, merged[path].blob)
        changed, unknown = rewritten(text, path, gone)
        left += [f"{path}: {line}" for line in unknown]
        if changed != text:
            merged[path] = Entry(merged[path].mode, write(project, changed))
    return left


def module_of(path: str) -> tuple[str, str] | None:
    """Say which package and module a file of src/ is, such as ("penguins", "training.gate")."""
    parts = PurePosixPath(path).parts
    if len(parts) < 3 or parts[0] != "src" or not path.endswith(".py"):
        return None
    return parts[1], ".".join([*parts[2:-1], parts[-1][:-3]]).removesuffix(".__init__")


def rewritten(text: str, path: str, gone: set[tuple[str, str]]) -> tuple[str, list[str]]:
    """Change the imports of one module; returns its text and what stays to be changed."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return text, []
    lines, unknown, constants = text.splitlines(keepends=True), [], False
    for node in sorted(imports(tree), key=lambda node: -node.lineno):
        replaced = []
        for package, module, alias in imported(node, path):
            if (package, module) not in gone:
                replaced.append((None, alias))
            elif module == "project":
                constants = True
                replaced.append((None, alias))
            elif home := TABLE["names"].get(f"{module}.{alias.name}"):
                replaced.append((home, alias))
            elif module in TABLE["modules"]:
                replaced.append((TABLE["modules"][module], alias))
            else:
                unknown.append(f"line {node.lineno} imports {module}, which is the library's now")
                replaced.append((None, alias))
        if any(home for home, _ in replaced):
            new = "".join(statements(node, replaced))
            lines[node.lineno - 1 : node.end_lineno] = [new]
    found = "".join(lines)
    if constants:
        names = "|".join(TABLE["project"])
        found = re.sub(
            rf"\bproject\.({names})\b", lambda m: f"project.{TABLE['project'][m[1]]}", found
        )
    packages = {package for package, _ in gone}
    return (sorted_imports(found, path, packages) if found != text else text), unknown[::-1]


def imports(tree: ast.Module) -> Iterator[ast.ImportFrom]:
    """Give the imports from a module, wherever they stand."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))


def imported(node: ast.ImportFrom, path: str) -> Iterator[tuple[str, str, ast.alias]]:
    """Give package and module that each name of an import comes from.

    A name of a package may be a module itself: then that is what is imported.
    """
    own = module_of(path)
    parts = (node.module or "").split(".") if node.module else []
    if node.level and own:
        base = own[1].split(".")[: -node.level] if node.level <= len(own[1].split(".")) else []
        package, inner = own[0], [*base, *parts]
    else:
        package, inner = (parts or [""])[0], parts[1:]
    for alias in node.names:
        # `from . import project` names a module, `from .tables import read_table` a name of one.
        yield package, ".".join(inner or [alias.name]), alias


def statements(node: ast.ImportFrom, names: list[tuple[str | None, ast.alias]]) -> Iterator[str]:
    """Write an import anew, a statement for each home of its names."""
    indent = " " * node.col_offset
    before = "." * node.level + (node.module or "")
    for home in dict.fromkeys(home for home, _ in names):
        aliases = [alias for found, alias in names if found == home]
        if home and node.module is None:  # a module itself
            for alias in aliases:
                parent, _, last = home.rpartition(".")
                shown = alias.asname or alias.name
                also = f" as {shown}" if shown != last else ""
                yield f"{indent}from {parent} import {last}{also}\n"
        else:
            yield f"{indent}from {home or before} import {', '.join(map(ast.unparse, aliases))}\n"


def sorted_imports(text: str, path: str, packages: set[str]) -> str:
    """Sort the imports as `make check` wants them."""
    first_party = f"lint.isort.known-first-party = {json.dumps(sorted(packages))}"
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "I", "--fix"]
    options = ["--line-length", "100", "--config", first_party, "--quiet"]
    done = subprocess.run(
        [*command, *options, "--stdin-filename", path, "-"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout if done.returncode == 0 else text
