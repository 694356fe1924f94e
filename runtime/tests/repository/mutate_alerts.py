"""Change every alert rule in every small way, and count what the cases of test_alerts.py notice.

Run it as a program, on the repositories that the library is tested with; it takes two minutes.
It fails when less than 95 % of the changes are noticed.
"""

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import promql_parser as promql

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import test_alerts

import conftest
from modelloop import Project

WANTED = 0.95
# Labels and words are passed over, for they may hold digits and signs, too.
TOKEN = re.compile(
    r"\{[^}]*\}|(?P<duration>\d+[smhd])|(?P<number>\d+(\.\d+)?)|(?P<sign>[<>=!]=|[<>])"
    r"|(?P<word>[a-zA-Z_][\w:]*)"
)
MATCHER = re.compile(r', \w+(=|!=|=~|!~)"[^"]*"')  # all but the first
FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "==": "!=", "!=": "=="}
SWAPPED = {"and": ["or", "unless"], "or": ["and"], "unless": ["and"]}


class Mutant(NamedTuple):
    project: Project
    change: str
    rule: dict


def main() -> None:
    classification, regression = (
        Project.at(conftest.RENDERED / name) for name in ("penguins", "weights")
    )
    mutants = [
        mutant
        for project, alerts in (
            (classification, test_alerts.COMMON | test_alerts.OF_CLASSIFICATION),
            (regression, test_alerts.OF_REGRESSION),
        )
        for alert, rule in test_alerts.alerts_of(project).items()
        if alert in alerts
        for mutant in mutants_of(project, rule)
    ]
    survivors = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for number, survived in enumerate(pool.map(survives, mutants), start=1):
            survivors += [mutants[number - 1]] if survived else []
            print(f"\r{number} of {len(mutants)}, {len(survivors)} survived", end="", flush=True)
    score = 1 - len(survivors) / len(mutants)
    print(f"\nNoticed: {score:.1%} of {len(mutants)}")
    for survivor in survivors:
        print(f"{survivor.rule['alert']}: {survivor.change}")
    sys.exit(score < WANTED)


def survives(mutant: Mutant) -> bool:
    """Whether no case of the alert notices the change."""
    with tempfile.TemporaryDirectory() as folder:
        failures = test_alerts.failures(mutant.project, Path(folder), mutant.rule)
    # Anything else than another result would mean that the mutant is not even valid.
    assert not failures or "exp:" in failures, f"{mutant.change}: {failures}"
    return not failures


def mutants_of(project: Project, rule: dict) -> Iterator[Mutant]:
    for change, expression in [*of_text(rule["expr"]), *of_operands(rule["expr"])]:
        yield Mutant(project, change, rule | {"expr": expression})
    for field in ("for", "keep_firing_for"):
        if field in rule:
            for duration in of_duration(rule[field]):
                yield Mutant(project, f"{field} {duration}", rule | {field: duration})
            rest = {name: value for name, value in rule.items() if name != field}
            yield Mutant(project, f"no {field}", rest)
    for label in rule["labels"]:
        others = {name: value for name, value in rule["labels"].items() if name != label}
        yield Mutant(project, f"no label {label}", rule | {"labels": others})
        changed = rule | {"labels": others | {label: "another"}}
        yield Mutant(project, f"label {label}: another", changed)


def of_text(expression: str) -> Iterator[tuple[str, str]]:
    """Other numbers, durations, comparisons and set operators; a matcher less."""
    found = [(token, of_token(token)) for token in TOKEN.finditer(expression)]
    found += [(matcher, [""]) for matcher in MATCHER.finditer(expression)]
    for old, replacements in found:
        for new in replacements:
            changed = expression[: old.start()] + new + expression[old.end() :]
            yield f"{old[0]} -> {new or 'nothing'}, at {old.start()}", changed


def of_token(token: re.Match[str]) -> list[str]:
    match token.lastgroup:
        case "duration":
            return of_duration(token[0])
        case "number":
            value = float(token[0])
            # 10 % of a number of things would mean no other number of things.
            others = (value - 1, value + 1) if value in (0, 1) else (0.9 * value, 1.1 * value)
            return [f"{other:.9g}" for other in others]
        case "sign":
            return [FLIPPED[token[0]]]
    return SWAPPED.get(token[0], [])


def of_duration(duration: str) -> list[str]:
    seconds = promql.parse_duration(duration).total_seconds()
    return [f"{seconds * factor:.0f}s" for factor in (0.5, 2)]


def of_operands(expression: str) -> Iterator[tuple[str, str]]:
    """One side alone of each set operator."""
    tree = promql.parse(expression)
    operators: list[promql.BinaryExpr] = []
    promql.walk(tree, lambda node: operators.append(node) if is_set_operator(node) else None)
    for number in range(len(operators)):
        for side in ("lhs", "rhs"):
            yield f"{side} alone of set operator {number}", alone(tree, number, side)


def alone(tree: promql.Expr, number: int, side: str) -> str:
    seen = iter(range(1000))

    def visit(node: promql.Expr) -> promql.Expr | None:
        if is_set_operator(node) and next(seen) == number:
            return getattr(node, side)
        return None

    return promql.transform(tree, pre_visit=visit).prettify()


def is_set_operator(node: promql.Expr) -> bool:
    return isinstance(node, promql.BinaryExpr) and str(node.op) in SWAPPED


if __name__ == "__main__":
    main()
