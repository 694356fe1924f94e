"""A version reaches many repositories; the table says what became of each."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from conftest import ROOT, commit, git
from made_template import LINES, PACKAGE, MadeTemplate, Project

pytestmark = pytest.mark.execute

BRANCH = "template-1.1.0"
MORE = LINES + "new in the template\n"
CHECK = "! grep -r broken docs"


class Fleet:
    """Repositories on a server, and a configuration of all-repos that lists them."""

    def __init__(self, folder: Path, made: MadeTemplate | None = None) -> None:
        self.folder = folder
        self.made = made or MadeTemplate(folder / "template")
        self.start = self.made.generate(folder / "start")
        self.listed: dict[str, str] = {}
        self.config = folder / "all-repos.json"
        self.push("push_branch", {})

    def push(self, module: str, settings: dict) -> None:
        """Choose how branches are pushed."""
        self.config.write_text(
            json.dumps(
                {
                    "output_dir": "clones",
                    "source": "all_repos.source.json_file",
                    "source_settings": {"filename": str(self.folder / "listed.json")},
                    "push": module,
                    "push_settings": settings,
                }
            )
        )
        self.config.chmod(0o600)

    def add(self, name: str, work: Callable[[Project], None] = lambda project: None) -> Path:
        """Put a repository on the server, after a team has worked on it."""
        project = Project(self.folder / "work" / name, self.made)
        git(self.folder, "clone", "--quiet", str(self.start.folder), str(project.folder))
        work(project)
        bare = self.folder / "server" / f"{name}.git"
        git(self.folder, "clone", "--quiet", "--bare", str(project.folder), str(bare))
        self.list(name, str(bare))
        return bare

    def list(self, name: str, address: str) -> None:
        self.listed[name] = address
        (self.folder / "listed.json").write_text(json.dumps(self.listed))

    def release(self) -> None:
        """Release what the repositories are to get."""
        self.made.release(
            "v1.1.0",
            {
                "README.md": f"# {{{{ cookiecutter.project_slug }}}}\n{MORE}",
                "docs/page.md": f"page\n{MORE}",
                f"src/{PACKAGE}/core.py": f"new = True\n{LINES}",
            },
        )

    def roll_out(self, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        who = {f"GIT_{role}_NAME": "platform" for role in ("AUTHOR", "COMMITTER")}
        who |= {f"GIT_{role}_EMAIL": "platform@example.com" for role in ("AUTHOR", "COMMITTER")}
        command = ["--config", self.config, "--template", self.made.folder, "--check", CHECK]
        command += ["--state", self.folder / "state", "--jobs", "2", *options]
        done = subprocess.run(
            [sys.executable, ROOT / "fleet" / "rollout.py", *command],
            env=os.environ | who | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def text(self, name: str, path: str, branch: str = BRANCH) -> str:
        bare = self.folder / "server" / f"{name}.git"
        return git(bare, "show", f"{branch}:{path}") + "\n"

    def log(self, name: str) -> str:
        return (self.folder / "state" / "v1.1.0" / f"{name}.log").read_text()


def rows(said: str) -> dict[str, list[str]]:
    """Read the table: the result and the reason of each repository."""
    words = [line.split(None, 1) for line in said.splitlines()]
    lines = {word[0]: word[1] for word in words if len(word) == 2 and not word[0].endswith(":")}
    lines = {name: rest for name, rest in lines.items() if not name.isdigit()}
    kinds = ("clean", "conflict", "up to date", "skipped", "failed checks", "error")
    return {
        name: [kind, rest.removeprefix(kind).strip()]
        for name, rest in lines.items()
        for kind in kinds
        if rest.startswith(kind)
    }


def renames(project: Project) -> None:
    (project.folder / "docs" / "page.md").rename(project.folder / "docs" / "mine.md")
    commit(project.folder, "Renamed")


def moves_on(project: Project) -> None:
    project.edit({"src/penguins/model.py": "mine\n", "README.md": f"# mine\n{LINES}"})


def conflicts(project: Project) -> None:
    project.edit({"src/penguins/core.py": f"mine = True\n{LINES}"})


def deletes(project: Project) -> None:
    project.edit({"docs/page.md": None})


def breaks(project: Project) -> None:
    project.edit({"docs/own.md": "broken\n"})


def has_branch(project: Project) -> None:
    git(project.folder, "branch", BRANCH)


def updated(project: Project) -> None:
    assert project.run("update").returncode == 0
    commit(project.folder, "Updated")


def forgets(project: Project) -> None:
    project.edit({".cruft.json": None})


def other(project: Project) -> None:
    project.edit({".cruft.json": json.dumps(project.record() | {"commit": "0" * 40})})


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """Make twenty repositories, and roll a version out to them: first dry, then for real."""
    fleet = Fleet(tmp_path_factory.mktemp("fleet"))
    for at in range(4):
        fleet.add(f"untouched-{at}")
        fleet.add(f"worked-{at}", moves_on)
    for at in range(2):
        fleet.add(f"conflict-{at}", conflicts)
        fleet.add(f"renamed-{at}", renames)
    fleet.add("group/deleted", deletes)
    fleet.add("failing", breaks)
    fleet.add("branch", has_branch)
    fleet.release()
    fleet.add("updated", updated)
    fleet.add("plain", forgets)
    fleet.add("other", other)
    fleet.list("gone", str(fleet.folder / "server" / "gone.git"))
    fleet.add("late")
    fleet.dry = fleet.roll_out()
    fleet.branches_after_dry = branches(fleet)
    fleet.real = fleet.roll_out("--push")
    return fleet


def branches(fleet: Fleet) -> list[str]:
    """Name the repositories on the server that have the branch."""
    return [
        name
        for name, bare in fleet.listed.items()
        if Path(bare).exists() and git(Path(bare), "branch", "--list", BRANCH)
    ]


WANTED = {
    **{f"untouched-{at}": ["clean", ""] for at in range(4)},
    **{f"worked-{at}": ["clean", ""] for at in range(4)},
    **{f"conflict-{at}": ["conflict", "conflict: src/penguins/core.py"] for at in range(2)},
    **{f"renamed-{at}": ["clean", ""] for at in range(2)},
    "group/deleted": ["clean", ""],
    "late": ["clean", ""],
    "failing": ["failed checks", f"{CHECK} ended with 1"],
    "branch": ["skipped", f"there is a branch {BRANCH}"],
    "updated": ["up to date", "v1.1.0"],
    "plain": ["skipped", "not made from a template"],
    "other": ["skipped", "made from another template"],
    "gone": ["error", "it could not be cloned"],
}


def test_the_table_says_what_became_of_each_repository_and_why(fleet: Fleet):
    assert rows(fleet.real.stdout) == WANTED
    counts = "12 clean, 2 conflict, 1 up to date, 3 skipped, 1 failed checks, 1 error"
    assert counts in fleet.real.stdout.splitlines()
    assert fleet.real.returncode == 1


def test_a_dry_run_says_the_same_and_pushes_nothing(fleet: Fleet):
    assert rows(fleet.dry.stdout) == WANTED
    assert fleet.branches_after_dry == ["branch"]


def test_a_branch_is_pushed_where_the_update_is_clean_or_in_conflict(fleet: Fleet):
    pushed = [name for name, (result, _) in WANTED.items() if result in ("clean", "conflict")]
    assert sorted(branches(fleet)) == sorted([*pushed, "branch"])
    assert fleet.text("worked-1", "README.md") == f"# mine\n{MORE}"
    assert fleet.text("renamed-0", "docs/mine.md") == f"page\n{MORE}"
    assert "<<<<<<< this repository\nmine = True\n" in fleet.text(
        "conflict-0", "src/penguins/core.py"
    )
    with pytest.raises(subprocess.CalledProcessError):
        fleet.text("group/deleted", "docs/page.md")


def test_the_default_branch_stays_as_it_was(fleet: Fleet):
    for name in ("untouched-0", "conflict-0", "failing"):
        work = git(fleet.folder / "work" / name, "rev-parse", "HEAD")
        assert git(Path(fleet.listed[name]), "rev-parse", "main") == work


def test_the_commit_says_what_was_done(fleet: Fleet):
    bare = fleet.folder / "server" / "conflict-0.git"
    message = git(bare, "log", "-1", "--format=%an%n%B", BRANCH)
    assert message.splitlines()[:2] == ["platform", "Follow the template: v1.0.0 -> v1.1.0"]
    assert "conflict: src/penguins/core.py" in message


def test_there_is_a_log_for_each_repository(fleet: Fleet):
    assert "docs/own.md:broken" in fleet.log("failing")
    assert "does not exist" in fleet.log("gone") or "not appear" in fleet.log("gone")
    assert "files changed: " in fleet.log("group__deleted")


def test_a_second_run_does_what_is_not_done(fleet: Fleet):
    before = branches(fleet)
    project = Project(fleet.folder / "work" / "failing", fleet.made)
    project.edit({"docs/own.md": "mended\n"})
    git(project.folder, "push", "--quiet", str(fleet.folder / "server" / "failing.git"), "main")

    again = fleet.roll_out("--push")

    assert "repositories to do: 5\n" in again.stdout
    assert rows(again.stdout) == WANTED | {"failing": ["clean", ""]}
    assert branches(fleet) == [name for name in fleet.listed if name in (*before, "failing")]


def test_without_results_a_second_run_finds_what_it_pushed(fleet: Fleet):
    (fleet.folder / "state" / "v1.1.0" / "results.json").unlink()

    again = fleet.roll_out("--push")

    assert rows(again.stdout)["worked-0"] == ["clean", ""]
    assert rows(again.stdout)["branch"] == WANTED["branch"]


def test_a_configuration_that_is_none_is_refused(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, ROOT / "fleet" / "rollout.py", "--config", tmp_path / "none.json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: CONFIG: ")
    assert len(done.stderr.splitlines()) == 1


def test_somebody_unknown_to_git_is_told_before_anything_is_done(tmp_path: Path):
    fleet = Fleet(tmp_path)
    fleet.add("one")

    done = fleet.roll_out("--push", GIT_COMMITTER_NAME="", GIT_COMMITTER_EMAIL="")

    assert done.returncode == 2
    assert done.stderr == (
        "error: git does not know who commits: set user.name and user.email for git\n"
    )


def test_a_push_that_fails_is_an_error_of_its_repository(tmp_path: Path):
    fleet = Fleet(tmp_path)
    bare = fleet.add("one")
    fleet.add("two")
    fleet.release()
    hook = bare / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho closed; exit 1\n")
    hook.chmod(0o755)

    done = fleet.roll_out("--push")

    assert rows(done.stdout) == {"one": ["error", "git push ended with 1"], "two": ["clean", ""]}
    assert "closed" in fleet.log("one")


# Requests on a forge


class Forge(ThreadingHTTPServer):
    """Answers as GitHub and GitLab do, from what `requests` lists."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.requests: list[dict] = []
        self.opened: list[tuple[str, dict]] = []
        self.asked: list[str] = []


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        given = self.headers["Authorization"] or self.headers["Private-Token"]
        self.answer(self.server.requests, status=200 if "token" in given else 401)

    def do_POST(self) -> None:
        size = int(self.headers["Content-Length"])
        self.server.opened.append((self.path, json.loads(self.rfile.read(size))))
        self.answer({"html_url": "https://forge/1", "web_url": "https://forge/1"}, status=201)

    def answer(self, content: object, status: int) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def forge() -> Iterator[Forge]:
    with Forge() as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(params=["github", "gitlab"])
def on_forge(request: pytest.FixtureRequest, forge: Forge, tmp_path: Path, monkeypatch) -> Fleet:
    """Put one repository on a forge; git reaches the folder by the address it has there."""
    fleet = Fleet(tmp_path)
    bare = fleet.add("models/one")
    fleet.list("models/one", "git@forge.invalid:models/one")
    settings = tmp_path / "gitconfig"
    settings.write_text(f'[url "{bare}"]\ninsteadOf = git@forge.invalid:models/one\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    fleet.kind = request.param
    extra = {"username": "platform"} if fleet.kind == "github" else {}
    fleet.push(
        f"all_repos.push.{fleet.kind}_pull_request",
        {"base_url": forge.address, "api_key_env": "FORGE_TOKEN", **extra},
    )
    fleet.release()
    return fleet


def test_a_request_is_opened_for_the_pushed_branch(on_forge: Fleet, forge: Forge):
    done = on_forge.roll_out("--push", FORGE_TOKEN="token")

    assert rows(done.stdout) == {"models/one": ["clean", ""]}, done.stdout
    path, sent = forge.opened[0]
    if on_forge.kind == "github":
        assert path == "/repos/models/one/pulls"
        assert (sent["head"], sent["base"]) == (BRANCH, "main")
        assert forge.asked == [f"/repos/models/one/pulls?state=all&head=models%3A{BRANCH}"]
    else:
        assert path == "/projects/models%2Fone/merge_requests"
        assert (sent["source_branch"], sent["target_branch"]) == (BRANCH, "main")
    assert sent["title"] == "Follow the template: v1.0.0 -> v1.1.0"
    assert branches_of(on_forge) == BRANCH
    assert "token" not in done.stdout + on_forge.log("models__one")


def branches_of(fleet: Fleet) -> str:
    return git(fleet.folder / "server" / "models" / "one.git", "branch", "--list", BRANCH).strip()


@pytest.mark.parametrize(
    ("state", "said"), [("open", "open"), ("closed", "refused"), ("merged", "merged")]
)
def test_a_repository_with_a_request_for_this_version_is_skipped(
    on_forge: Fleet, forge: Forge, state: str, said: str
):
    if on_forge.kind == "github":
        merged = "2026-01-01" if state == "merged" else None
        row = {"state": "open" if state == "open" else "closed", "merged_at": merged}
    else:
        row = {"state": {"open": "opened"}.get(state, state)}
    forge.requests.append(row | {"html_url": "https://forge/7", "web_url": "https://forge/7"})

    done = on_forge.roll_out("--push", FORGE_TOKEN="token")

    assert rows(done.stdout) == {"models/one": ["skipped", f"{said}: https://forge/7"]}
    assert branches_of(on_forge) == ""
    assert forge.opened == []


def test_a_run_that_broke_off_after_the_push_goes_on_with_the_request(
    on_forge: Fleet, forge: Forge, tmp_path: Path
):
    broken = tmp_path / "all-repos.json"
    kept = broken.read_text()
    on_forge.push("push_branch", {})
    on_forge.roll_out("--push")
    assert branches_of(on_forge) == BRANCH
    broken.write_text(kept)
    (on_forge.folder / "state" / "v1.1.0" / "results.json").unlink()

    done = on_forge.roll_out("--push", FORGE_TOKEN="token")

    assert rows(done.stdout) == {"models/one": ["clean", ""]}
    assert len(forge.opened) == 1


def test_a_push_without_a_token_is_an_error_and_a_dry_run_needs_none(on_forge: Fleet):
    dry = on_forge.roll_out()
    real = on_forge.roll_out("--push")

    assert rows(dry.stdout) == {"models/one": ["clean", ""]}
    assert real.returncode == 1
    assert rows(real.stdout)["models/one"] == ["error", "api_key_env (FORGE_TOKEN) not set"]
    assert branches_of(on_forge) == ""


def test_no_more_repositories_at_a_time_than_jobs(tmp_path: Path):
    fleet = Fleet(tmp_path)
    for at in range(5):
        fleet.add(f"one-{at}")
    fleet.release()
    (tmp_path / "running").mkdir()
    count = (
        f"d={tmp_path}/running; touch $d/$$; ls $d | wc -l >> {tmp_path}/most; sleep 0.3; rm $d/$$"
    )

    done = fleet.roll_out("--check", count)

    assert done.returncode == 0, done.stdout
    most = [int(line) for line in (tmp_path / "most").read_text().split()]
    assert len(most) == 5
    assert max(most) <= 2
