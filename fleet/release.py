"""Release the template: `python release.py 1.2.0`, in its folder.

Dates the changelogs, notes which questions and values repositories now have, builds the library's
wheel as the same version and pins it in the locks, commits and tags.
"""

import json
import re
import sys
import tempfile
import tomllib
from datetime import date
from pathlib import Path

import wheel
from errors import UserError
from git_tool import GitError, git, look
from questions import broken_promises

UNRELEASED = "## [Unreleased]\n"


def main() -> int:
    """Release, or say in a line why not."""
    try:
        release(Path.cwd(), sys.argv[1] if len(sys.argv) == 2 else "")
    except (UserError, GitError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def release(folder: Path, version: str) -> None:
    """Commit and tag a version.

    Raises:
        UserError: Something is not ready; nothing was changed.
    """
    tags = git("tag", "--list", "v*", folder=folder).split()
    follows = following([tag[1:] for tag in tags if re.fullmatch(r"v\d+\.\d+\.\d+", tag)])
    if version not in follows:
        raise UserError(f"VERSION: {version!r} given; allowed: {', '.join(follows)}")
    if dirty := git("status", "--porcelain", folder=folder).splitlines():
        raise UserError(f"not committed: {dirty[0][3:]}, for one")
    branch = look("symbolic-ref", "--short", "HEAD", folder=folder)
    if branch != "main":
        raise UserError(f"releases are made on main, this is {branch or 'no branch'}")
    changelog, promises = folder / "CHANGELOG.md", folder / "fleet" / "released.json"
    librarys = folder / "runtime" / "CHANGELOG.md"
    text = changelog.read_text(encoding="utf-8")
    if not re.search(r"^- ", text.partition(UNRELEASED)[2].partition("\n## ")[0], re.MULTILINE):
        raise UserError("CHANGELOG.md has no entry below [Unreleased]")
    released = json.loads(promises.read_text(encoding="utf-8"))
    questions = json.loads((folder / "cookiecutter.json").read_text(encoding="utf-8"))
    aliases = tomllib.loads((folder / "fleet" / "answers.toml").read_text(encoding="utf-8"))
    if broken := broken_promises(released, questions, aliases):
        raise UserError(f"{broken[0]}: see fleet/answers.toml")
    with tempfile.TemporaryDirectory() as name:
        wheel.build(Path(name), folder)  # so that nothing is written when it cannot be built

    dated = f"{UNRELEASED}\n## [{version}] - {date.today()}\n"
    changelog.write_text(text.replace(UNRELEASED, dated), encoding="utf-8")
    of_library = librarys.read_text(encoding="utf-8")
    librarys.write_text(of_library.replace(UNRELEASED, dated), encoding="utf-8")
    for name, asked in questions.items():
        if not name.startswith("_"):
            values = asked if isinstance(asked, list) else []
            released[name] = [*dict.fromkeys([*released.get(name, []), *values])]
    promises.write_text(json.dumps(released, indent=2) + "\n", encoding="utf-8")
    wheel.set_version(folder, version)
    wheel.write(folder)
    git("add", "--all", folder=folder)
    git("commit", "--quiet", "--message", f"Release {version}", folder=folder)
    git("tag", "--annotate", f"v{version}", "--message", f"Release {version}", folder=folder)
    print(f"Released v{version}. Now: git push --atomic origin main v{version}")


def following(versions: list[str]) -> list[str]:
    """Say which versions may come next."""
    if not versions:
        return ["0.1.0", "1.0.0"]
    major, minor, patch = max([*map(int, version.split("."))] for version in versions)
    return [f"{major}.{minor}.{patch + 1}", f"{major}.{minor + 1}.0", f"{major + 1}.0.0"]


if __name__ == "__main__":
    raise SystemExit(main())
