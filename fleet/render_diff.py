"""Show how renders differ between a version and the work tree: `render_diff.py BASE [TYPE]`."""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from errors import UserError
from git_tool import NOBODY, GitError, git
from template import Template

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "build" / "render-diff"


def main() -> int:
    """Render each problem type twice, and let git compare."""
    base, *types = sys.argv[1:]
    settings = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
    shutil.rmtree(OUT, ignore_errors=True)
    try:
        with Template(ROOT) as template:
            commits = {"base": template.wanted(base, "BASE"), "new": work_tree()}
            for kind in types or settings["problem_type"]:
                answers = {"problem_type": kind, "_template": ""}
                template.render(
                    [(commit, answers, OUT / kind / name) for name, commit in commits.items()]
                )
                print(f"{kind}: {base} and the work tree", flush=True)
                compare(OUT / kind)
    except (UserError, GitError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def work_tree() -> str:
    """Keep the work tree as a commit that no branch has; what git ignores is not in it."""
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder, "index"))}
        git("add", "--all", folder=ROOT, **index)
        tree = git("write-tree", folder=ROOT, **index).strip()
    return git("commit-tree", tree, "-m", "the work tree", folder=ROOT, **NOBODY).strip()


def compare(folder: Path) -> None:
    """Print what differs: the files first, then their lines."""
    (project,) = [path.name for path in (folder / "new").iterdir() if path.is_dir()]
    command = ["git", "--no-pager", "diff", "--no-index", "--stat", "--patch"]
    sides = [f"{name}/{project}" for name in ("base", "new")]
    subprocess.run([*command, *sides], cwd=folder, check=False)


if __name__ == "__main__":
    raise SystemExit(main())
