"""Read what Python says without running it: constants, settings, metrics and pipelines."""

import ast
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[1] / "runtime" / "src"
# What the server's own classes and prometheus_client call a kind, and what Prometheus shows of it.
KINDS = {
    "counter": ("counter", "_total"),
    "constant": ("gauge", ""),
    "histogram": ("histogram", "_bucket, _sum, _count"),
    "Counter": ("counter", "_total"),
    "Gauge": ("gauge", ""),
    "CounterMetricFamily": ("counter", "_total"),
    "GaugeMetricFamily": ("gauge", ""),
}


@dataclass(frozen=True)
class Setting:
    """A field of pydantic's settings: the environment variable of the same name."""

    name: str
    default: str | None  # None: it is needed
    allowed: str
    comment: str


@dataclass(frozen=True)
class Metric:
    """A metric as it is declared."""

    name: str
    kind: str
    labels: tuple[str, ...]
    text: str
    only: str = ""  # the problem type that has it


@dataclass(frozen=True)
class Parameter:
    """A parameter of a compiled pipeline."""

    name: str
    default: str | None  # None: it is needed
    text: str


@cache
def parsed(path: Path) -> ast.Module:
    """Parse a module."""
    return ast.parse(path.read_text(encoding="utf-8"))


def settings(path: Path) -> dict[str, list[Setting]]:
    """Give the settings of a module by the name of their class."""
    lines = path.read_text(encoding="utf-8").splitlines()
    found = {}
    for node in parsed(path).body:
        if isinstance(node, ast.ClassDef) and "Environment" in map(ast.unparse, node.bases):
            found[node.name] = [
                Setting(
                    field.target.id.upper(),
                    None if field.value is None else shown(field.value, path),
                    allowed(field.annotation, path),
                    comment(lines[field.end_lineno - 1]),
                )
                for field in node.body
                if isinstance(field, ast.AnnAssign) and field.target.id.islower()
            ]
    return found


def variables(path: Path) -> list[Setting]:
    """Give what a module reads from os.environ itself; the comment stands above."""
    lines = path.read_text(encoding="utf-8").splitlines()
    found = []
    for node in parsed(path).body:
        read = getattr(node, "value", None)
        if isinstance(read, ast.Call) and ast.unparse(read.func) == "os.environ.get":
            name, *default = [shown(argument, path) for argument in read.args]
            above = lines[node.lineno - 2].strip()
            text = comment(lines[node.end_lineno - 1])
            text = text or (above.removeprefix("# ") if above.startswith("# ") else "")
            found.append(Setting(name, *(default or [""]), "", text))
    return found


def comment(line: str) -> str:
    """Return the comment at the end of a line."""
    match = re.search(r"\s#\s(.+)$", line)
    return match[1] if match else ""


def shown(node: ast.expr, path: Path) -> str:
    """Say what an expression of a module is worth, as a person would type it."""
    match node:
        case ast.Constant(value=None):
            return ""
        case ast.Constant(value=bool(value)):
            return str(value).lower()
        case ast.Constant(value=value):
            return f"{value:g}" if isinstance(value, float) else str(value)
        case ast.BinOp(op=ast.Div()):
            return "/".join(filter(None, (shown(node.left, path), shown(node.right, path))))
        case ast.BinOp(op=ast.Mult()):
            return str(math.prod(int(shown(side, path)) for side in (node.left, node.right)))
        case ast.Name(id=name):
            found, where = constant(name, path)
            return shown(found, where) if found else name
        case ast.Call(func=ast.Name(id="Path"), args=[argument]):
            return shown(argument, path)
    return ast.unparse(node)


def allowed(node: ast.expr, path: Path) -> str:
    """Say what an annotation allows."""
    match node:
        case ast.BinOp(op=ast.BitOr(), left=left):
            return allowed(left, path)
        case ast.Name(id="bool"):
            return "true, false"
        case ast.Name(id="str"):
            return ""
        case ast.Name(id="Path"):
            return "a path"
        case ast.Name(id="float"):
            return "a number"
        case ast.Name(id=name):
            found, where = constant(name, path)
            return allowed(found, where) if found else name
        case ast.Subscript(value=ast.Name(id="Literal"), slice=choices):
            values = choices.elts if isinstance(choices, ast.Tuple) else [choices]
            return ", ".join(filter(None, (shown(value, path) for value in values)))
        case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[kind, *rules])):
            limits = {
                keyword.arg: shown(keyword.value, path)
                for rule in rules
                if isinstance(rule, ast.Call)
                for keyword in rule.keywords
            }
            if {"ge", "le"} <= limits.keys():
                return f"{limits['ge']} to {limits['le']}"
            return f"at least {limits['ge']}" if "ge" in limits else allowed(kind, path)
    return ast.unparse(node)


def constant(name: str, path: Path) -> tuple[ast.expr | None, Path]:
    """Find what a name of a module is worth there, or in the module it is imported from."""
    for node in parsed(path).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=found)], value=value) if found == name:
                return value, path
            case ast.AnnAssign(target=ast.Name(id=found), value=value) if found == name:
                return value, path
            case ast.ImportFrom(level=0, module=str(module)) if module.startswith(
                "modelloop."
            ) and name in {alias.name for alias in node.names}:
                return constant(name, SOURCES.joinpath(*module.split(".")).with_suffix(".py"))
    return None, path


def metrics(path: Path) -> Iterator[Metric]:
    """Give the metrics that a module declares."""
    for node in parsed(path).body:
        for function in ast.walk(node):
            if isinstance(function, ast.FunctionDef):
                yield from _declared(function.body, path, local_texts(function), "")


def _declared(
    body: list[ast.stmt], path: Path, known: dict[str, list[tuple[ast.expr, str]]], only: str
) -> Iterator[Metric]:
    for line in body:
        if isinstance(line, ast.If):
            yield from _declared(line.body, path, known, of_classes(line) or only)
            yield from _declared(
                line.orelse, path, known, "regression" if of_classes(line) else only
            )
        elif not isinstance(line, ast.FunctionDef | ast.ClassDef):
            for call in ast.walk(line):
                if isinstance(call, ast.Call):
                    yield from _metrics_of(call, path, known, only)


def of_classes(line: ast.If) -> str:
    """Say whether a branch is that of models with classes."""
    return "classification" if ast.unparse(line.test).endswith("classes") else ""


def local_texts(function: ast.FunctionDef) -> dict[str, list[tuple[ast.expr, str]]]:
    """Give the tuples that a function's names stand for, with the problem type of their branch."""
    known: dict[str, list[tuple[ast.expr, str]]] = {}

    def look(body: list[ast.stmt], only: str) -> None:
        for line in body:
            match line:
                case ast.If():
                    look(line.body, of_classes(line) or only)
                    look(line.orelse, "regression" if of_classes(line) else only)
                case ast.Assign(targets=[ast.Name(id=name)], value=ast.Tuple() as value):
                    known.setdefault(name, []).append((value, only))

    look(function.body, "")
    return known


def _metrics_of(
    call: ast.Call, path: Path, known: dict[str, list[tuple[ast.expr, str]]], only: str
) -> Iterator[Metric]:
    called = call.func.attr if isinstance(call.func, ast.Attribute) else ast.unparse(call.func)
    arguments = [*call.args]
    if called == "computed":  # the kind is an argument
        called = ast.unparse(arguments.pop(0))
    if called not in KINDS or not arguments:
        return
    kind, ends = KINDS[called]
    given = [(arguments, only)]
    if isinstance(arguments[0], ast.Starred):
        given = [
            ([*value.elts, *arguments[1:]], branch)
            for value, branch in known[arguments[0].value.id]
        ]
    for (name, text, *rest), branch in given:
        if isinstance(name, ast.Constant) and isinstance(text, ast.Constant):
            labels = rest[-1] if rest else None
            if isinstance(labels, ast.Name) and labels.id in known:
                labels = known[labels.id][0][0]
            names = tuple(
                part.value
                for part in (labels.elts if isinstance(labels, ast.Tuple | ast.List) else ())
                if isinstance(part, ast.Constant)
            )
            series = ", ".join(f"{name.value}{end}" for end in ends.split(", "))
            yield Metric(series, kind, names, text.value.rstrip("."), branch)


def pipelines(path: Path) -> Iterator[tuple[str, list[Parameter]]]:
    """Give the pipelines of a module: the end of the name, and the parameters."""
    for node in parsed(path).body:
        for call in getattr(node, "decorator_list", ()):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "dsl.pipeline":
                (name,) = [key.value for key in call.keywords if key.arg == "name"]
                told = dict(re.findall(r"^(\w+): (.+)$", arguments_told(node), re.MULTILINE))
                asked = node.args.args
                defaults = [None] * (len(asked) - len(node.args.defaults)) + node.args.defaults
                yield (
                    shown(name.values[-1], path).lstrip("-"),
                    [
                        Parameter(
                            argument.arg,
                            None if default is None else shown(default, path),
                            told[argument.arg].rstrip("."),
                        )
                        for argument, default in zip(asked, defaults, strict=True)
                    ],
                )


def arguments_told(function: ast.FunctionDef) -> str:
    """Return the lines of a docstring that tell the arguments, without indentation."""
    text = ast.get_docstring(function).partition("Args:\n")[2]
    return "\n".join(line.strip() for line in text.splitlines())
