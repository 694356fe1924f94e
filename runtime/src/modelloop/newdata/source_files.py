"""Change files that the team owns: all of them or none, and only what git can restore."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from modelloop.errors import UserError
from modelloop.project import Project


def data_card(project: Project) -> Path:
    """The path of the data card, data/README.md."""
    return project.root / "data" / "README.md"


def refuse_uncommitted(project: Project, paths: Iterable[Path]) -> None:
    """Check that git can restore the files as they are; one that does not exist needs nothing.

    Raises:
        UserError: it cannot; the message names the files.
    """
    names = [str(path.relative_to(project.root)) for path in paths]
    command = ["git", "status", "--porcelain", "--untracked-files=all", "--", *names]
    done = subprocess.run(command, cwd=project.root, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"git could not give {', '.join(names)} back: {done.stderr.strip()}")
    changed = [line[3:] for line in done.stdout.splitlines()]
    if changed:
        raise UserError(f"{', '.join(changed)} would be lost: commit the changes first")


def with_assignments(project: Project, path: Path, assignments: Mapping[str, str]) -> str:
    """The source of a module with other assignments to some of its global names.

    Private functions that nothing uses any more are left out. The source is formatted.

    Args:
        project: the repository; its pyproject.toml says how to format.
        path: the module.
        assignments: by name, the statement in place of the one that the module has.

    Raises:
        UserError: the module does not assign to a name, or is no Python.
    """
    source = path.read_text(encoding="utf-8")
    lines = source.splitlines(keepends=True)
    nodes = {name: node for node in _parsed(project, source, path).body for name in _names(node)}
    absent = [name for name in assignments if name not in nodes]
    if absent:
        raise UserError(f"{path.relative_to(project.root)} assigns nothing to {', '.join(absent)}")
    for name in sorted(assignments, key=lambda name: -nodes[name].lineno):
        node = nodes[name]
        lines[node.lineno - 1 : node.end_lineno] = [f"{assignments[name]}\n"]
    return _formatted(project, _without_unused(project, "".join(lines), path), path)


def write(files: Mapping[Path, str | bytes | None]) -> None:
    """Write files, and remove those whose content is None; after an error all are as before.

    Raises:
        UserError: a file cannot be written.
    """
    before = {path: path.read_bytes() if path.exists() else None for path in files}
    try:
        for path, content in files.items():
            _replace(path, content.encode() if isinstance(content, str) else content)
    except BaseException as error:
        for path, content in before.items():
            _replace(path, content)
        if isinstance(error, OSError):
            raise UserError(f"{error.filename}: {error.strerror}; nothing was changed") from error
        raise


def _replace(path: Path, content: bytes | None) -> None:
    if content is None:
        path.unlink(missing_ok=True)
        return
    new = path.with_name(f"{path.name}.new")
    try:
        new.write_bytes(content)
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)


def _parsed(project: Project, source: str, path: Path) -> ast.Module:
    try:
        return ast.parse(source)
    except SyntaxError as error:
        place = f"{path.relative_to(project.root)}, line {error.lineno}"
        raise UserError(f"{place}: {error.msg}") from error


def _names(node: ast.stmt) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _without_unused(project: Project, source: str, path: Path) -> str:
    tree, lines = _parsed(project, source, path), source.splitlines(keepends=True)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    for node in reversed(tree.body):
        if not isinstance(node, ast.FunctionDef) or not node.name.startswith("_"):
            continue
        if node.name not in used:
            first = min([node.lineno, *(part.lineno for part in node.decorator_list)])
            del lines[first - 1 : node.end_lineno]
    return "".join(lines)


def _formatted(project: Project, source: str, path: Path) -> str:
    for verb in (["check", "--quiet", "--select", "I", "--fix"], ["format"]):
        command = [sys.executable, "-m", "ruff", *verb, "--stdin-filename", str(path), "-"]
        done = subprocess.run(
            command, cwd=project.root, input=source, capture_output=True, text=True
        )
        if done.returncode:
            reason = done.stderr.strip() or done.stdout.strip()
            raise UserError(f"{path.relative_to(project.root)} cannot be formatted: {reason}")
        source = done.stdout
    return source
