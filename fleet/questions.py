"""Carry the answers of a repository over to the questions of another version of the template."""

import shlex
from collections.abc import Mapping

from errors import UserError

Answers = dict[str, object]
FORM = "name=value name2='another value'"


def asked_for(text: str) -> dict[str, str]:
    """Read `name=value name2='another value'`, as a shell would.

    Raises:
        UserError: It is something else.
    """
    try:
        parts = shlex.split(text)
    except ValueError as error:
        raise UserError(f"ANSWERS: {text!r} given ({error}); allowed: {FORM}") from None
    for part in parts:
        if "=" not in part:
            raise UserError(f"ANSWERS: {part!r} given; allowed: {FORM}")
    return dict(part.split("=", 1) for part in parts)


def carry_over(
    recorded: Mapping[str, object], questions: Mapping[str, object], aliases: Mapping[str, dict]
) -> tuple[Answers, list[str]]:
    """Answer a version's questions with those recorded in another one.

    Args:
        recorded: The answers of the repository.
        questions: What cookiecutter.json of the version asks.
        aliases: What answers.toml of the version says: new names of questions and of values.

    Returns:
        The answers that are still asked for, and what happened to the others, a line each.
    """
    answers: Answers = {}
    notes = []
    for name, value in recorded.items():
        if name.startswith("_"):
            continue
        new = latest(name, aliases.get("renamed", {}))
        if new not in questions:
            notes.append(f"question {name} is gone, and its answer {value!r} with it")
            continue
        if new != name:
            notes.append(f"question {name} is now {new}")
        answers[new] = latest(value, aliases.get("values", {}).get(new, {}))
        if answers[new] != value:
            notes.append(f"answer {value!r} of {new} is now {answers[new]!r}")
    return answers, notes


def latest(name: object, renamed: Mapping[object, object]) -> object:
    """Follow a name through everything it was renamed to."""
    seen = set()
    while name in renamed and name not in seen:
        seen.add(name)
        name = renamed[name]
    return name


def broken_promises(
    released: Mapping[str, list], questions: Mapping[str, object], aliases: Mapping[str, dict]
) -> list[str]:
    """Say which questions and values of a release a repository could no longer carry over."""
    broken = []
    for name, values in released.items():
        new = latest(name, aliases.get("renamed", {}))
        if new not in questions:
            if new not in aliases.get("dropped", ()):
                broken.append(f"question {name} is gone, and is neither renamed nor dropped")
            continue
        choices = questions[new]
        for value in values if isinstance(choices, list) else ():
            if latest(value, aliases.get("values", {}).get(new, {})) not in choices:
                broken.append(f"{value!r} was a value of {name}, and has no new name")
    return broken
