"""The model card: facts from the contract, and fields that only people can fill in."""

from collections.abc import Iterable
from pathlib import Path

from modelloop.contract.contract import Column, Contract
from modelloop.errors import UserError
from modelloop.project import Project

NAME = "docs/model-card.md"
FACTS = "## Facts"  # the heading of the section that is written from the contract
MARK = "FILL IN:"  # begins an open field
MOST_CATEGORIES = 12  # of a column that are listed


def fill(project: Project, contract: Contract) -> Path:
    """Write the facts of a version into the card, whose other sections stay; returns its path.

    Raises:
        UserError: there is no card.
    """
    before, _, after = _read(project).partition(f"{FACTS}\n")
    _, heading, next_sections = after.partition("\n## ")
    text = f"{before.rstrip()}\n\n{FACTS}\n\n{_facts(contract)}\n{heading}{next_sections}"
    path = project.root / NAME
    path.write_text(text, encoding="utf-8")
    return path


def unanswered(project: Project) -> list[str]:
    """The open fields, each with its section and its question.

    Raises:
        UserError: there is no card.
    """
    section, found = "", []
    for line in _read(project).splitlines():
        if line.startswith("#"):
            section = line.lstrip("# ")
        if MARK in line:
            found.append(f"{section}: {line.partition(MARK)[2].strip()}")
    return found


def check(project: Project) -> None:
    """Refuse a release while the card has open fields.

    Raises:
        UserError: it has some, or there is no card.
    """
    fields = unanswered(project)
    if fields:
        raise UserError(
            f"{NAME}: nothing goes to production while it says `{MARK}`; answer\n"
            + "\n".join(f"  {field}" for field in fields)
        )


def _read(project: Project) -> str:
    try:
        return (project.root / NAME).read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{NAME}: {error.strerror}; a model has a card") from error


def _facts(contract: Contract) -> str:
    source = contract.provenance
    data = source.data_uri.rpartition("/")[2]
    answer = _words(contract.target)
    if contract.classes:
        answer += f": the chance of each of {_some(contract.classes)}"
    elif contract.target.unit:
        answer += f", in {contract.target.unit}"
    facts = {
        "Version": f"{contract.version or 'none'}, candidate `{source.candidate}`",
        "Answers": answer,
        "Trained": f"{source.trained_at[:10]}, on {source.rows_train:,} rows of `{data}`",
        "Judged": f"on {source.rows_test:,} rows that it had not seen",
        "Served as": f"{contract.served.form}: {contract.served.reason}",
        "Code": f"commit `{source.git_commit}`, Python {source.python}",
        "Data": f"SHA-256 `{source.data_sha256}`",
        "MLflow run": f"`{source.mlflow_run}`",
    }
    parts = [
        f"Of version {contract.version or 'none'}; `make model-card` writes them anew.",
        table(["", ""], facts.items()),
        table(
            ["input", "what", "allowed", "in training", "missing there"],
            map(_input, contract.features),
        ),
        table(
            ["metric", "on the test rows"],
            [(name, f"{value:.4g}") for name, value in contract.metrics.items()],
        ),
    ]
    if contract.decision:
        checks = contract.decision.checks
        rows = [("passed" if c.passed else "failed", c.name, c.detail) for c in checks]
        parts.append(table(["", "check of the gate", "detail"], rows))
    return "\n\n".join(parts)


def _input(column: Column) -> tuple[str, ...]:
    allowed = _range(column.minimum, column.maximum)
    if column.kind == "category":
        allowed = _some(column.categories) if column.categories else "any text"
    observed = _range(*column.observed) if column.observed else ""
    what = _words(column) + (f", in {column.unit}" if column.unit else "")
    return f"`{column.name}`", what, allowed, observed, f"{column.missing:.1%}"


def _words(column: Column) -> str:
    return column.description or column.name


def _range(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f"{low:g} to {high:g}"
    if low is not None:
        return f"at least {low:g}"
    return f"at most {high:g}" if high is not None else "any number"


def _some(names: list[str]) -> str:
    more = len(names) - MOST_CATEGORIES
    return ", ".join(names[:MOST_CATEGORIES]) + (f" and {more} more" if more > 0 else "")


def table(names: list[str], rows: Iterable[tuple[str, ...]]) -> str:
    """A table in Markdown; the cells may hold any text."""
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
