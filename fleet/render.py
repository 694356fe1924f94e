"""Render a template: `python render.py TEMPLATE ANSWERS.json OUT`.

A process of its own for every template, since a template brings Python that is imported once. It
prints one JSON: the folder, and the context as .cruft.json keeps it. Answers that start with an
underscore, such as _commit, are given to the template as they are: the hook that finds _commit
leaves git alone. A refusal is one line on standard error.
"""

import json
import logging
import sys
import tempfile
from pathlib import Path

from cookiecutter.exceptions import CookiecutterException, FailedHookException
from cookiecutter.generate import generate_context, generate_files
from cookiecutter.prompt import prompt_for_config
from jinja2 import TemplateError

YES_OR_NO = ("1", "true", "t", "yes", "y", "on", "0", "false", "f", "no", "n", "off")


def main() -> int:
    """Render; 1 when the template refuses."""
    template, answers, out = sys.argv[1:]
    given = json.loads(Path(answers).read_text(encoding="utf-8"))
    logging.disable()
    try:
        print(json.dumps(render(Path(template), given, Path(out))))
    except FailedHookException:
        return 1  # the hook has said why
    except (CookiecutterException, TemplateError, ValueError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 1
    return 0


def render(template: Path, given: dict[str, object], out: Path) -> dict[str, object]:
    """Render a template's folder.

    Raises:
        CookiecutterException: The template does not render.
        ValueError: An answer is not one of those that are allowed.
    """
    settings = template / "cookiecutter.json"
    questions = json.loads(settings.read_text(encoding="utf-8"))
    public = {name: value for name, value in given.items() if not name.startswith("_")}
    for name, value in public.items():
        check(name, value, questions)
    # cookiecutter leaves every hook it rendered in the temporary folder.
    out.mkdir(parents=True, exist_ok=True)
    tempfile.tempdir = str(out)
    sys.path.insert(0, str(template))
    context = generate_context(str(settings), extra_context=public)
    context["cookiecutter"] = prompt_for_config(context, no_input=True)
    context["cookiecutter"].update({name: given[name] for name in given if name not in public})
    folder = generate_files(str(template), context, output_dir=str(out))
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


if __name__ == "__main__":
    raise SystemExit(main())
