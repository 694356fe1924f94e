"""Render a template as often as it is asked: `python render.py TEMPLATE`.

A process of its own for every version, since a template brings Python that is imported once. A line
on standard input is a request, {"answers": {...}, "out": "folder"}; a line on standard output is
its reply, {"folder": ..., "context": ...} or {"refused": "why"}. Answers that start with an
underscore, such as _commit, are given to the template as they are: the hook that finds _commit
leaves git alone.
"""

import json
import logging
import os
import sys
import tempfile
from pathlib import Path

import cookiecutter.generate
from cookiecutter.exceptions import CookiecutterException, FailedHookException
from cookiecutter.prompt import prompt_for_config
from jinja2 import BytecodeCache, TemplateError
from jinja2.bccache import Bucket

from printed import printed_to

YES_OR_NO = ("1", "true", "t", "yes", "y", "on", "0", "false", "f", "no", "n", "off")


class Compiled(BytecodeCache):
    """What Jinja compiled for one render, kept for the next: a third of the time."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        """Hand out what was kept."""
        if bucket.key in self.kept:
            bucket.bytecode_from_string(self.kept[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep what was compiled."""
        self.kept[bucket.key] = bucket.bytecode_to_string()


def main() -> None:
    """Answer requests until there are no more."""
    template = Path(sys.argv[1])
    sys.path.insert(0, str(template))
    logging.disable()
    compile_once()
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(reply(template, request["answers"], Path(request["out"]))), file=replies)
        replies.flush()


def reply(template: Path, answers: dict[str, object], out: Path) -> dict[str, object]:
    """Render, or say in one line why not."""
    out.mkdir(parents=True, exist_ok=True)
    # cookiecutter leaves every hook it rendered in the temporary folder.
    tempfile.tempdir = str(out)
    said = out / "said"
    with printed_to(said):
        try:
            return render(template, answers, out)
        except FailedHookException:
            why = ""  # the hook has said it
        except (CookiecutterException, TemplateError, ValueError, SystemExit) as error:
            why = str(error)
    why = why or said.read_text(encoding="utf-8", errors="replace")
    return {"refused": "; ".join(filter(None, why.splitlines())) or "a hook failed"}


def render(template: Path, answers: dict[str, object], out: Path) -> dict[str, object]:
    """Render a template's folder.

    Raises:
        CookiecutterException: The template does not render.
        ValueError: An answer is not one of those that are allowed.
    """
    settings = template / "cookiecutter.json"
    questions = json.loads(settings.read_text(encoding="utf-8"))
    public = {name: value for name, value in answers.items() if not name.startswith("_")}
    for name, value in public.items():
        check(name, value, questions)
    context = cookiecutter.generate.generate_context(str(settings), extra_context=public)
    context["cookiecutter"] = prompt_for_config(context, no_input=True)
    context["cookiecutter"].update({name: answers[name] for name in answers if name not in public})
    folder = cookiecutter.generate.generate_files(str(template), context, output_dir=str(out))
    return {"folder": folder, "context": context["cookiecutter"]}


def check(name: str, value: object, questions: dict[str, object]) -> None:
    """Refuse an answer that nothing asks for, or that is none of a question's choices.

    Raises:
        ValueError: The answer is refused.
    """
    if name not in questions:
        public = [question for question in questions if not question.startswith("_")]
        raise ValueError(f"{name}: no such question; there are: {', '.join(public)}")
    asked = questions[name]
    if isinstance(asked, bool) and str(value).lower() not in YES_OR_NO:
        raise ValueError(f"{name}: {value!r} given; allowed: yes, no")
    if isinstance(asked, list) and value not in asked:
        raise ValueError(f"{name}: {value!r} given; allowed: {', '.join(asked)}")


def compile_once() -> None:
    """Let every environment that cookiecutter makes use what an earlier one compiled."""
    compiled, make = Compiled(), cookiecutter.generate.create_env_with_context

    def create(context: dict[str, object]) -> object:
        environment = make(context)
        environment.bytecode_cache = compiled
        return environment

    cookiecutter.generate.create_env_with_context = create


if __name__ == "__main__":
    main()
