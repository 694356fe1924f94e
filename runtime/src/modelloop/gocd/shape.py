"""Validate the shape of a pipeline file: which keys and values are allowed where.

The rules are the JSON Schema pipeline.schema.json; messages take what is allowed from its
descriptions.
"""

import difflib
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, ValidationError

Place = tuple[str | int, ...]  # keys and indices from the root of the file

SCHEMA = Path(__file__).with_name("pipeline.schema.json")
# Where a value is of the wrong kind, other errors of it and below it only repeat that.
DECISIVE = ("type", "maxProperties")
KINDS = {"object": "a map that is not empty", "array": "a list that is not empty"}
ENCRYPTED = (
    "works on one server only, use environment_variables or password: nothing but a quoted "
    '"{{SECRET:[configuration][key]}}"'
)
# Why keys that GoCD knows are not allowed.
REFUSED = {
    **dict.fromkeys(("script", "plugin", "ant", "nant", "rake"), "exec a verb of the Makefile"),
    **dict.fromkeys(("secure_variables", "encrypted_password", "secure_options"), ENCRYPTED),
    "tasks": "put them under a job of jobs",
}


def check(content: object) -> list[str]:
    """Validate what `reader.read` returned.

    Returns:
        One sentence per fault: `path.to.key: what is wrong; allowed: what is`.
    """
    errors = [(_place(error), error) for error in _validator().iter_errors(content)]
    decisive = {place for place, error in errors if error.validator in DECISIVE}
    misspelt = {place for place, error in errors if error.validator == "additionalProperties"}
    found: list[str] = []
    for place, error in errors:
        repeats = place in decisive and error.validator not in DECISIVE and not _is_name(error)
        if repeats or any(place[:end] in decisive for end in range(len(place))):
            continue
        found += _sentences(place, error, may_be_misspelt=place in misspelt)
    return list(dict.fromkeys(found))


@cache
def _validator() -> Draft202012Validator:
    return Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))


def _place(error: ValidationError) -> Place:
    place = tuple(error.absolute_path)
    return (*place, str(error.instance)) if _is_name(error) else place


def _is_name(error: ValidationError) -> bool:
    """Whether a key is wrong, not its value."""
    return "propertyNames" in error.schema_path


def _sentences(place: Place, error: ValidationError, *, may_be_misspelt: bool) -> Iterator[str]:
    value: Any = error.instance
    rule: Any = error.validator_value
    schema: Any = error.schema
    at = _written(place)
    match error.validator:
        case "additionalProperties":
            yield from _unknown_keys(place, value, schema["properties"])
        case "required" if not may_be_misspelt:
            yield from (f"{at}has no {key}; one is required" for key in rule if key not in value)
        case "oneOf" | "anyOf":
            keys = [key for option in rule for key in option["required"]]
            given = [key for key in keys if key in value]
            if given:
                yield f"{at}{' and '.join(given)} together; only one of them is allowed"
            elif not may_be_misspelt:
                yield f"{at}has no {' or '.join(keys)}; one is required"
        case "not" if rule:
            yield f"{at}{' and '.join(rule['required'])} together; only one of them is allowed"
        case "not":
            yield f"{at}is not allowed here; allowed: {schema['description']}"
        case "maxProperties":
            yield f"{at}of {', '.join(value)} GoCD reads only the first; allowed: one key"
        case "type" | "minItems" | "minProperties":
            allowed = schema.get("description") or KINDS[schema["type"]]
            yield f"{at}{_shown(value, schema)} is the wrong kind; allowed: {allowed}"
        case "pattern" | "enum":
            allowed = schema.get("description") or " or ".join(rule)
            yield f"{at}{_shown(value, schema)} is not right; allowed: {allowed}"


def _unknown_keys(place: Place, value: dict[str, Any], allowed: dict[str, Any]) -> Iterator[str]:
    for key in [key for key in value if key not in allowed]:
        close = difflib.get_close_matches(key, allowed, n=1)
        why = REFUSED.get(key) or (f"did you mean {close[0]}?" if close else "unknown")
        at = _written((*place, key))
        yield f"{at}is not allowed here: {why}; allowed: {', '.join(allowed)}"


def _written(place: Place) -> str:
    return ".".join(map(str, place)) + ": " if place else ""


def _shown(value: object, schema: dict[str, Any]) -> str:
    """A value as messages may show it: a secret must not get into a log."""
    return "the value" if schema.get("writeOnly") else f"{value!r:.80}"
