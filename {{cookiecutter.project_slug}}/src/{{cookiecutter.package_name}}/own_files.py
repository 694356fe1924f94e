"""Change files that the team owns: all or none of them, and only what git can give back."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from .errors import UserError
from .settings import ROOT

SOURCE = ROOT / "src" / __package__
DATA, MODEL = SOURCE / "data.py", SOURCE / "model.py"
CARD = ROOT / "data" / "README.md"


def refuse_uncommitted(paths: Iterable[Path]) -> None:
    """Hold that git has the files as they are.

    Raises:
        UserError: it has not; the message names the files.
    """
    names = [str(path.relative_to(ROOT)) for path in paths]
    command = ["git", "status", "--porcelain", "--untracked-files=all", "--", *names]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"git could not give {', '.join(names)} back: {done.stderr.strip()}")
    changed = [line[3:] for line in done.stdout.splitlines()]
    if changed:
        raise UserError(f"{', '.join(changed)} would be lost: commit the changes first")


def assigned(path: Path, values: Mapping[str, str]) -> str:
    """The source of a module with other values assigned to some names at its top.

    Private functions that nothing uses any more are left out. The text is formatted.

    Raises:
        UserError: the module does not assign to a name, or is no Python.
    """
    source = path.read_text(encoding="utf-8")
    lines = source.splitlines(keepends=True)
    found = {name: node for node in _parsed(source, path).body for name in _names(node)}
    absent = [name for name in values if name not in found]
    if absent:
        raise UserError(f"{path.relative_to(ROOT)} assigns nothing to {', '.join(absent)}")
    for name in sorted(values, key=lambda name: -found[name].lineno):
        node = found[name]
        lines[node.lineno - 1 : node.end_lineno] = [f"{values[name]}\n"]
    return _formatted(_without_unused("".join(lines), path), path)


def write(files: Mapping[Path, str | bytes | None]) -> None:
    """Write files, and remove those that get nothing; after an error everything is as before.

    Raises:
        UserError: a file cannot be written.
    """
    before = {path: path.read_bytes() if path.exists() else None for path in files}
    try:
        for path, content in files.items():
            _put(path, content.encode() if isinstance(content, str) else content)
    except BaseException as error:
        for path, content in before.items():
            _put(path, content)
        if isinstance(error, OSError):
            raise UserError(f"{error.filename}: {error.strerror}; nothing was changed") from error
        raise


def _put(path: Path, content: bytes | None) -> None:
    if content is None:
        path.unlink(missing_ok=True)
        return
    new = path.with_name(f"{path.name}.new")
    try:
        new.write_bytes(content)
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)


def _parsed(source: str, path: Path) -> ast.Module:
    try:
        return ast.parse(source)
    except SyntaxError as error:
        place = f"{path.relative_to(ROOT)}, line {error.lineno}"
        raise UserError(f"{place}: {error.msg}") from error


def _names(node: ast.stmt) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _without_unused(source: str, path: Path) -> str:
    tree, lines = _parsed(source, path), source.splitlines(keepends=True)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    for node in reversed(tree.body):
        private = isinstance(node, ast.FunctionDef) and node.name.startswith("_")
        if private and node.name not in used:
            first = min(part.lineno for part in (node, *node.decorator_list))
            del lines[first - 1 : node.end_lineno]
    return "".join(lines)


def _formatted(source: str, path: Path) -> str:
    for verb in (["check", "--quiet", "--select", "I", "--fix"], ["format"]):
        command = [sys.executable, "-m", "ruff", *verb, "--stdin-filename", str(path), "-"]
        done = subprocess.run(command, cwd=ROOT, input=source, capture_output=True, text=True)
        if done.returncode:
            reason = done.stderr.strip() or done.stdout.strip()
            raise UserError(f"{path.relative_to(ROOT)} cannot be formatted: {reason}")
        source = done.stdout
    return source
