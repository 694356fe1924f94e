"""Bring a newer template into a repository that was made from it: `python update.py check|update`.

It renders the template twice with the answers in .cruft.json, as it was and as it is wanted, and
merges the difference. `make template-check` and `make template-update` of a repository fetch the
template and run this out of it. It ends with 0 when nothing is left to do, 1 when something is
left to a person, 2 when it refused and nothing was changed.
"""

import argparse
import contextlib
import json
import os
import shutil
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import bring_in
import leavers
import team_imports
from errors import UserError
from git_tool import (
    Entry,
    Files,
    GitError,
    changed,
    demand_git,
    files_of,
    git,
    split,
    write,
    write_tree,
)
from locks import Locks, source
from merge import Merged, add_render, merge, spare_team, with_crlf
from owners import matches, owner
from questions import Answers, asked_for, carry_over
from record import RECORD, public, read_record, rewritten, without_password
from template import Template, Version

HERE = Path(__file__).resolve().parents[1]
UNDER_WAY = ("MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "rebase-merge", "rebase-apply")


@dataclass
class Plan:
    """What an update would do."""

    old: Version
    new: Version
    record: dict
    merged: Merged = field(default_factory=lambda: Merged({}))
    # Files of the template that the team edited, and of the team that the template changed.
    edited: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    # Files that the template removed and the team had edited, and what to do with each.
    aside: dict[str, str] = field(default_factory=dict)
    # Imports that a person must change.
    imports: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    locks: Locks | None = None
    nothing: bool = False

    @property
    def changed(self) -> list[str]:
        """The files that the update changes, but for the record."""
        return [path for path in changed(self.locks.ours, self.merged.files) if path != RECORD]

    @property
    def title(self) -> str:
        """The message of the commit."""
        return f"Follow the template: {self.old.name} -> {self.new.name}"


def plan(
    project: Path,
    template: Template,
    ref: str | None = None,
    asked: Answers | None = None,
    address: str | None = None,
) -> Plan:
    """Work out an update, in the object store only.

    Args:
        project: The repository.
        template: A clone of its template.
        ref: The version that is wanted, else the newest.
        asked: Answers that are to be other ones.
        address: Where the template is now.

    Raises:
        UserError: The repository or the template does not allow it.
    """
    record = read_record(project)
    recorded = record["context"]["cookiecutter"]
    if not template.has(record["commit"]):
        raise UserError(
            f"the template has no commit {record['commit']!r}, which {RECORD} names: its history"
            f" was rewritten, or this is another template. Write the commit that the repository"
            f" was last updated to into {RECORD}"
        )
    commit = template.wanted(ref)
    if not ref and template.is_behind(commit, record["commit"]):
        commit = record["commit"]
    planned = Plan(template.version(record["commit"]), template.version(commit), record)
    address = without_password(address or record["template"])
    if commit == record["commit"] and address == record["template"] and not asked:
        planned.nothing = True
        return planned

    questions = json.loads(template.text(commit, "cookiecutter.json", "{}"))
    aliases = tomllib.loads(template.text(commit, "fleet/answers.toml"))
    answers, planned.notes = carry_over(recorded, questions, aliases)
    known = set(answers)
    answers |= asked or {}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        origin = {"_template": address}
        renders = template.render(
            [
                (record["commit"], public(recorded) | origin, work / "old"),
                (commit, answers | origin, work / "new"),
            ]
        )
        context = renders[1]["context"]
        folders = [Path(render["folder"]) for render in renders]
        crlf = with_crlf(project, *folders)
        trees = [add_render(project, folder, work / "index", crlf) for folder in folders]
        for files in trees:
            files.pop(RECORD, None)
        planned.record = rewritten(record, context, address, planned.new, ref)
        merge_into(planned, project, *trees, work / "index")
    planned.notes += [
        f"new question {question}: {value!r}"
        for question, value in public(context).items()
        if question not in known and question not in (asked or {})
    ]
    return planned


def merge_into(planned: Plan, project: Path, old: Files, new: Files, index: Path) -> None:
    """Merge what differs between two renders into the files of the repository."""
    ours = files_of(project, "HEAD")
    skipped = planned.record.get("skip", [])

    def is_teams(path: str) -> bool:
        return owner(path) == "team" or any(
            matches(path, glob) or path.startswith(f"{glob.rstrip('/')}/") for glob in skipped
        )

    def is_lock(path: str) -> bool:
        compiled = any(source(path) in files for files in (old, new, ours))
        return owner(path) == "lock" and compiled and not is_teams(path)

    theirs, planned.kept = spare_team(project, old, new, ours, is_teams)
    for path in filter(is_lock, {*old, *new}):
        if path in old:
            theirs[path] = old[path]
        elif path in ours:
            del theirs[path]
    base, mine, wanted = (write_tree(project, files, index) for files in (old, ours, theirs))
    names = tuple(f"template {version.name}" for version in (planned.old, planned.new))
    merged = merge(project, base, mine, wanted, (names[0], "this repository", names[1]))
    leavers.merge_lists(project, old, ours, new, merged)
    planned.aside = leavers.put_aside(project, merged)
    by_line = {path for path in new if not is_teams(path)}
    planned.imports = team_imports.follow(project, old, ours, merged.files, by_line)
    text = json.dumps(planned.record, ensure_ascii=False, indent=2) + "\n"
    merged.files[RECORD] = Entry(ours[RECORD].mode, write(project, text))
    planned.locks = Locks(
        project, old, new, ours, merged.files, undecided=frozenset(merged.conflicts)
    )
    planned.locks.decide(is_lock)
    planned.merged = merged
    planned.edited = [
        path for path in sorted(old) if owner(path) == "template" and ours.get(path) != old[path]
    ]


def update(project: Path, planned: Plan, uv: str) -> list[str]:
    """Bring a planned update into the work tree.

    Returns:
        What is left to a person, a line each.

    Raises:
        UserError: Files that are not committed are in the way.
    """
    demand_clean(project, planned)
    reason = planned.locks.compile(uv)
    with tempfile.TemporaryDirectory() as folder:
        tree = write_tree(project, planned.merged.files, Path(folder, "index"))
    bring_in.bring_in(project, tree, planned.merged.conflicts)
    left = [f"conflict: {path}" for path in sorted(planned.merged.conflicts)]
    left += [f"kept in {leavers.ASIDE}/: {path}: {now}" for path, now in planned.aside.items()]
    left += planned.imports
    if reason:
        locks = " ".join(sorted(planned.locks.to_compile))
        left.append(f"not compiled: {locks}: {reason}. Run `make lock`")
    return left


def demand_clean(project: Path, planned: Plan | None = None) -> None:
    """Check that an update mixes with nobody's unfinished work.

    Raises:
        UserError: It would.
    """
    state = bring_in.git_folder(project)
    if any((state / name).exists() for name in UNDER_WAY):
        raise UserError("a merge, rebase or cherry-pick is under way: finish or abort it first")
    options = ("--porcelain", "-z", "--untracked-files=no", "--no-renames")
    dirty = [line[3:] for line in split(git("status", *options, folder=project))]
    if dirty:
        raise UserError(f"not committed: {some(dirty)}. Commit or stash it first")
    if planned and (there := in_the_way(project, planned.changed)):
        raise UserError(f"in the way, and not committed: {some(there)}. Commit or move it first")


def in_the_way(project: Path, paths: list[str]) -> list[str]:
    """Name what is not committed and stands where an update writes."""
    ours = files_of(project, "HEAD")
    found = set()
    for path in filter(lambda path: path not in ours, paths):
        if os.path.lexists(project / path):
            found.add(path)
        folders = map(str, PurePath(path).parents[:-1])
        found.update(name for name in folders if name not in ours and (project / name).is_file())
    return sorted(found)


def some(names: list[str], most: int = 5) -> str:
    """Name the first few."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def report(planned: Plan) -> Iterator[str]:
    """Say what an update does, in the lines of one screen."""
    counts = Counter(owner(path) or "template" for path in planned.changed)
    kinds = ", ".join(f"{kind} {count}" for kind, count in counts.most_common())
    yield f"files changed: {len(planned.changed)}{f' ({kinds})' if kinds else ''}"
    yield from planned.notes
    for label, names in (
        ("deleted here, so they stay away", planned.merged.stay_deleted),
        ("yours, so not touched, though the template changed them", planned.kept),
        ("the template's, but edited here", planned.edited),
        ("locks to compile again", planned.locks.to_compile),
    ):
        if names:
            yield f"{label}: {some(sorted(names))}"


def main() -> int:
    """Check or update; a refusal is one line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("verb", choices=["check", "update"])
    parser.add_argument("--project", type=Path, default=Path(), help="the repository")
    parser.add_argument("--template", type=Path, default=HERE, help="a clone of the template")
    parser.add_argument("--ref", help="tag, branch or commit; else the newest release")
    parser.add_argument("--answers", default="", help="name=value name2='another value'")
    parser.add_argument("--answer", action="append", default=[], help="name=value")
    parser.add_argument("--address", help="where the template is now")
    parser.add_argument("--uv", default=shutil.which("uv") or "uv", help="compiles locks")
    given = parser.parse_args()
    try:
        demand_git()
        return run(given)
    except (UserError, GitError) as error:
        print(f"error: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
    return 2


def run(given: argparse.Namespace) -> int:
    """Do what the command line asks.

    Raises:
        UserError: Nothing can be done.
    """
    project = given.project.resolve()
    asked = asked_for(given.answers)
    for pair in given.answer:
        name, found, value = pair.partition("=")
        if not found:
            raise UserError(f"--answer: {pair!r} given; allowed: name=value")
        asked[name] = value
    read_record(project)
    alone = bring_in.alone(project) if given.verb == "update" else contextlib.nullcontext()
    with alone, Template(given.template.resolve()) as template:
        if given.verb == "update":
            demand_clean(project)
        planned = plan(project, template, given.ref or None, asked, given.address or None)
        if planned.nothing:
            print(f"Up to date with the template: {planned.new.name} ({planned.new.date})")
            return 0
        old, new = planned.old, planned.new
        print(f"Template {old.name} ({old.date}) -> {new.name} ({new.date})")
        if given.verb == "check":
            print(*template.news(old.commit, new.commit), *report(planned), sep="\n")
            conflicts = sorted(planned.merged.conflicts)
            left = [f"would conflict: {some(conflicts)}"] if conflicts else []
            if aside := sorted(planned.aside):
                left.append(f"would be kept in {leavers.ASIDE}/: {some(aside)}")
            left += planned.imports
        else:
            left = update(project, planned, os.path.abspath(given.uv))
            print(*report(planned), sep="\n")
        print(*left, sep="\n", end="\n" if left else "")
        if given.verb == "update":
            todo = "Mend what is left, `git add` it" if left else "Look with `git diff --cached`"
            print(f'{todo}, then `git commit -m "{planned.title}"`; `git reset --hard` undoes it.')
        return 1 if left else 0


if __name__ == "__main__":
    raise SystemExit(main())
