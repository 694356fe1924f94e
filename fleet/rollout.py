"""Update many repositories, on all-repos: `python rollout.py --config all-repos.json`.

A repository that is behind is updated on a branch that is named after the version, its checks run,
the branch is pushed, and a request is opened, by the push module that the configuration of
all-repos names. A dry run, which is the default, does all but the push. The table at the end says
what became of each repository; its log says why. A second run does what is not done.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from subprocess import CalledProcessError

from all_repos import autofix_lib, clone
from all_repos.config import Config, load_config
from all_repos.util import load_api_key

import update
from errors import UserError
from forges import FORGES
from git_tool import GitError, demand_git, git, look
from printed import printed_to
from record import RECORD, read_record
from template import Template, Version

RESULTS = ("clean", "conflict", "up to date", "skipped", "failed checks", "error")
# What a second run leaves as it is.
DONE = ("clean", "conflict", "up to date")
BAD = ("failed checks", "error")


@dataclass(frozen=True)
class Task:
    """What every repository gets."""

    config: Config
    template: Path
    version: Version
    check: str
    push: bool
    logs: Path

    @property
    def branch(self) -> str:
        """The branch of this version."""
        return f"template-{self.version.name.removeprefix('v')}"


@dataclass(frozen=True)
class Result:
    """What became of a repository, and why."""

    repository: str
    result: str
    why: str = ""


def main() -> int:
    """Roll a version out; 1 when an error or failed checks are in the table, 2 when refused."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="all-repos.json", help="of all-repos")
    parser.add_argument("--template", type=Path, default=update.HERE, help="a clone of it")
    parser.add_argument("--ref", help="tag, branch or commit; else the newest release")
    parser.add_argument("--check", default="make check", help="runs in each repository")
    parser.add_argument("--push", action="store_true", help="push branches, open requests")
    parser.add_argument("--jobs", type=int, default=4, help="repositories at a time")
    parser.add_argument("--state", type=Path, default=Path("build/rollout"), help="logs, results")
    given = parser.parse_args()
    try:
        demand_git()
        with tempfile.TemporaryDirectory(prefix="rollout-") as work:
            # Whatever a repository that is killed leaves behind goes with it.
            os.environ["TMPDIR"], tempfile.tempdir = work, None
            return run(given)
    except (UserError, GitError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def run(given: argparse.Namespace) -> int:
    """Clone what is listed, update each, and print the table.

    Raises:
        UserError: The configuration is not one, or there is no such version.
    """
    try:
        config = load_config(given.config)
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise UserError(f"CONFIG: {given.config!r} is not one of all-repos: {error!r}") from None
    # In a folder of no repository: so are the clones of all-repos.
    if look("var", "GIT_COMMITTER_IDENT", folder=Path(tempfile.gettempdir())) is None:
        raise UserError("git does not know who commits: set user.name and user.email for git")
    with Template(given.template.resolve()) as template:
        version = template.version(template.wanted(given.ref or None))
    logs = given.state.resolve() / version.name
    with printed_to(logs / "clone.log"):
        clone.main(["--config-filename", given.config, "--jobs", str(given.jobs)])
    kept = Results(logs / "results.json", keep=given.push)
    task = Task(config, given.template.resolve(), version, given.check, given.push, logs)
    todo = [name for name in sorted(config.get_cloned_repos()) if not kept.is_done(name)]
    about = "" if given.push else "; a dry run, nothing is pushed"
    print(f"{version.name} ({version.date}), repositories to do: {len(todo)}{about}", flush=True)
    # Processes, not threads: all-repos works in the current folder.
    with ProcessPoolExecutor(given.jobs) as pool:
        for future in as_completed([pool.submit(roll_out, task, name) for name in todo]):
            kept.add(future.result())
            print(f"  {future.result().repository}: {future.result().result}", flush=True)
    print(*table(kept.results.values()), f"Logs: {logs}", sep="\n")
    return int(any(row.result in BAD for row in kept.results.values()))


class Results:
    """The results of a version, kept in a file as they come in."""

    def __init__(self, path: Path, keep: bool) -> None:
        """Take over those of an earlier run; a dry run neither takes nor keeps any."""
        self.path, self.keep = path, keep
        self.results: dict[str, Result] = {}
        if keep and path.exists():
            rows = json.loads(path.read_text(encoding="utf-8"))
            self.results = {row["repository"]: Result(**row) for row in rows}

    def is_done(self, repository: str) -> bool:
        """Say whether nothing is left to do."""
        return repository in self.results and self.results[repository].result in DONE

    def add(self, result: Result) -> None:
        """Take a result in."""
        self.results[result.repository] = result
        if self.keep:
            draft = self.path.with_suffix(".new")
            draft.write_text(json.dumps([asdict(row) for row in self.results.values()], indent=1))
            draft.replace(self.path)


def table(results: Iterable[Result]) -> Iterator[str]:
    """Write a line a repository, and how many there are of each kind."""
    rows = sorted(results, key=lambda row: (RESULTS.index(row.result), row.repository))
    width = max((len(row.repository) for row in rows), default=0)
    for row in rows:
        yield f"{row.repository:{width}}  {row.result:13}  {row.why}".rstrip()
    counts = Counter(row.result for row in rows)
    yield ", ".join(f"{counts[kind]} {kind}" for kind in RESULTS if counts[kind]) or "none listed"


def roll_out(task: Task, name: str) -> Result:
    """Do everything for one repository; what goes wrong is its result."""
    result = Result(name, "error", "it broke off")
    clone_of = os.path.join(task.config.output_dir, name)
    with printed_to(task.logs / f"{name.replace('/', '__')}.log"):
        try:
            with autofix_lib.repo_context(clone_of, use_color=False):
                try:
                    result = in_clone(task, name)
                except (UserError, GitError, OSError, ValueError) as error:
                    print(f"error: {error}")
                    result = Result(name, "error", " ".join(str(error).split()))
                except CalledProcessError as error:  # what it printed is in the log
                    command = " ".join(error.cmd[:2])
                    result = Result(name, "error", f"{command} ended with {error.returncode}")
        except RuntimeError:  # the context has printed why it could not begin
            result = Result(name, "error", "it could not be cloned")
    return result


def in_clone(task: Task, name: str) -> Result:
    """Update the clone that is the current folder."""
    project, version = Path.cwd(), task.version
    # all-repos opens the request against the branch that this one tracks.
    autofix_lib.run("git", "checkout", "--quiet", "origin/HEAD", "-b", task.branch)
    if look("cat-file", "-e", f"HEAD:{RECORD}", folder=project) is None:
        return Result(name, "skipped", "not made from a template")
    template = warm(task.template)
    recorded = read_record(project)["commit"]
    if not template.has(recorded):
        return Result(name, "skipped", "made from another template")
    if template.is_behind(version.commit, recorded):
        return Result(name, "up to date", template.version(recorded).name)
    if request := request_of(task):
        return Result(name, "skipped", request)
    planned = update.plan(project, template, version.name)
    update.demand_clean(project)
    left = update.update(project, planned, str(Path(sys.executable).with_name("uv")))
    told = [*update.report(planned), *left]
    print(*told, sep="\n", flush=True)
    commit(project, template, planned, told)
    if not left and task.check:
        done = subprocess.run(["bash", "-c", task.check], check=False)
        if done.returncode:
            return Result(name, "failed checks", f"{task.check} ended with {done.returncode}")
    pushed = look("rev-parse", f"refs/remotes/origin/{task.branch}", folder=project)
    if pushed and pushed != git("rev-parse", "HEAD", folder=project).strip():
        return Result(name, "skipped", f"there is a branch {task.branch}")
    if task.push:
        task.config.push(task.config.push_settings, task.branch)
    return Result(name, "conflict" if left else "clean", "; ".join(left))


def commit(project: Path, template: Template, planned: update.Plan, told: list[str]) -> None:
    """Commit what was merged, markers too: the team resolves them on the branch.

    The same update is the same commit, so a run that broke off after the push can go on.
    """
    dates = [
        int(git("show", "-s", "--format=%ct", at, folder=folder))
        for at, folder in ((planned.new.commit, template.folder), ("HEAD", project))
    ]
    when = {f"GIT_{role}_DATE": f"@{max(dates)} +0000" for role in ("AUTHOR", "COMMITTER")}
    if planned.merged.conflicts:
        autofix_lib.run("git", "add", "--", *planned.merged.conflicts)
    message = ("-m", planned.title, "-m", "\n".join(told))
    autofix_lib.run("git", "commit", "--quiet", "--no-verify", *message, env=os.environ | when)


@cache
def warm(folder: Path) -> Template:
    """Return the one template of this process: what it rendered before, it renders faster."""
    return Template(folder)


def request_of(task: Task) -> str | None:
    """Say which request there is for this version, where a forge is asked for requests.

    Raises:
        OSError: The forge did not answer.
        ValueError: There is no token.
    """
    settings = task.config.push_settings
    ask = FORGES.get(type(settings).__module__)
    with contextlib.ExitStack() as stack:
        if not task.push:
            stack.enter_context(contextlib.suppress(ValueError))  # a dry run needs no token
        requests = ask(settings, load_api_key(settings), task.branch) if ask else []
        for state, address in requests:
            return f"{state}: {address}"
    return None


if __name__ == "__main__":
    raise SystemExit(main())
