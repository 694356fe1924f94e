"""The Jinja filters of the template, and the first look at the answers on the command line.

cookiecutter imports this module in its own process before it asks or writes anything: no other
place sees an answer that cookiecutter is about to drop.
"""

import json
import logging
import os
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import click
from jinja2 import BaseLoader, Environment, FileSystemBytecodeCache
from jinja2.bccache import Bucket
from jinja2.ext import Extension

TEMPLATE = Path(__file__).resolve().parent
SETTINGS = json.loads((TEMPLATE / "cookiecutter.json").read_text(encoding="utf-8"))
JINJA = re.compile("{[{%#]")
VERSIONS = f"{sys.implementation.cache_tag}-{version('jinja2')}"
QUESTIONS = [name for name in SETTINGS if not name.startswith("_")]


class Quoting(Extension):
    """Adds the filters `quoted`, `go_text` and `folder_name` and the function `template_dir`."""

    def __init__(self, environment: Environment) -> None:
        """Register everything with the environment that cookiecutter renders with."""
        super().__init__(environment)
        environment.filters["quoted"] = quoted
        environment.filters["folder_name"] = folder_name
        environment.filters["go_text"] = go_text
        # cookiecutter stands in the template's folder while it renders the hooks.
        environment.globals["template_dir"] = os.getcwd
        compile_little(environment)
        keep_answers(environment)


def keep_answers(environment: Environment) -> None:
    """Take answers as they are.

    cookiecutter renders the answers that it is given, on a command line or by an update, as it
    renders the defaults in cookiecutter.json: `{{` in a description would be evaluated.
    """
    render = environment.from_string
    ours = {text for value in SETTINGS.values() for text in _texts(value)}

    def from_string(source: str, *arguments: object, **options: object) -> object:
        caller = sys._getframe(1).f_code.co_name
        if caller == "render_variable" and source not in ours:
            return SimpleNamespace(render=lambda **_: source)
        return render(source, *arguments, **options)

    environment.from_string = from_string


def compile_little(environment: Environment) -> None:
    """Compile only what holds Jinja, and each text once.

    To compile costs a render more than everything else. What was compiled lies beside the bytecode
    of this module, under the same rules: with PYTHONDONTWRITEBYTECODE it is read but not written,
    and a folder that cannot be written does no harm.
    """
    environment.bytecode_cache = Compiled()
    compile_now, get_template = environment.from_string, environment.get_template

    def from_string(source: str, *_: object, **__: object) -> object:
        if not JINJA.search(source):
            return SimpleNamespace(render=lambda **_: source)
        # A folder to make, which another run hardly makes again.
        if os.path.isabs(source):
            return compile_now(source)
        # A loader's template goes through the cache; one from a string does not.
        return BaseLoader.load(Text(source), environment, source, environment.make_globals(None))

    def from_file(name: str, *included: object) -> object:
        source = environment.loader.get_source(environment, name)[0]
        if included or JINJA.search(source):
            return get_template(name, *included)
        return from_string(source)

    environment.from_string = from_string
    environment.get_template = from_file


class Text(BaseLoader):
    """Gives one text, whatever its name."""

    def __init__(self, source: str) -> None:
        self.source = source

    def get_source(self, environment: Environment, template: str) -> tuple[str, None, None]:
        """Give the text; it has no file and never changes."""
        return self.source, None, None


class Compiled(FileSystemBytecodeCache):
    """Keeps compiled templates, of each version of Python and Jinja apart."""

    def __init__(self) -> None:
        super().__init__(str(TEMPLATE / "__pycache__"), f"jinja.{VERSIONS}.%s")

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep one, where that is wanted and possible."""
        if sys.dont_write_bytecode:
            return
        with suppress(OSError):
            os.makedirs(self.directory, exist_ok=True)
            super().dump_bytecode(bucket)


def quoted(value: object) -> str:
    """Write a value as a JSON string, which TOML, YAML and Python read as the same text."""
    # JSON's own escape of an emoji is a surrogate pair, which TOML refuses.
    return json.dumps(str(value), ensure_ascii=False)


def go_text(value: object) -> str:
    """Keep a text as it is where Prometheus or Alertmanager take it for a Go template."""
    return str(value).replace("{{", '{{"{{"}}')


def folder_name(slug: str) -> str:
    """Refuse a slug that is a path: its folders are made before the first hook can refuse it."""
    if slug in ("", ".", "..") or "/" in slug or "\\" in slug:
        raise SystemExit(
            f"project_slug: {slug!r} given; allowed: a folder name, such as penguins."
            " Nothing was written."
        )
    return slug


def faults(names: Iterable[str]) -> list[str]:
    """Say which answers cookiecutter would drop, because nothing asks for them."""
    found = []
    for name in names:
        if name not in QUESTIONS:
            import difflib  # a fault is rare, and every render would wait for it

            close = difflib.get_close_matches(name, QUESTIONS, n=1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            found.append(f"{name}: no such question{hint}; there are: {', '.join(QUESTIONS)}")
    return found


def answers_given() -> dict[str, object]:
    """Read the answers on the command line of `cookiecutter` or `cruft create`, if this is one."""
    context = click.get_current_context(silent=True)
    if context and getattr(context.command.callback, "__module__", "") == "cookiecutter.cli":
        return dict(context.params["extra_context"] or {})
    program = Path(sys.argv[0])
    if "cruft" in (program.stem, program.parent.name) and sys.argv[1:2] == ["create"]:
        return _answers_for_cruft(sys.argv[2:])
    return {}


def _answers_for_cruft(arguments: list[str]) -> dict[str, object]:
    from argparse import ArgumentParser

    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--extra-context", default="{}")
    parser.add_argument("--extra-context-file", "-E", type=Path)
    options = parser.parse_known_args(arguments)[0]
    if options.extra_context_file:
        return json.loads(options.extra_context_file.read_text(encoding="utf-8"))
    return json.loads(options.extra_context)


def _texts(value: object) -> list[str]:
    return [value] if isinstance(value, str) else [*map(str, value or ())]


def _refuse_faulty_answers() -> None:
    found = faults(answers_given())
    if found:
        raise SystemExit("\n".join([*found, "Nothing was written."]))


def _without_traceback(record: logging.LogRecord) -> bool:
    record.exc_info = None
    return True


_refuse_faulty_answers()
# A refusing hook has said why; where in cookiecutter it was started would only bury that.
logging.getLogger("cookiecutter.hooks").addFilter(_without_traceback)
