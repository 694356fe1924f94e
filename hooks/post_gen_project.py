"""Keep the files of the chosen options, record where the repository comes from, commit it."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable

# The repr of the answers is a Python literal, whatever they say.
ANSWERS = dict({{cookiecutter.items() | list}})
TEMPLATE_DIR = {{template_dir() | quoted}}

# A file or folder name__value.ext belongs to one value of one of these questions.
OPTIONS = {
    "problem_type": ("classification", "regression"),
    "release_target": ("seldon", "azureml"),
    "airflow_dag": ("airflow",),  # where the answer is yes
    "license": ("Apache-2.0", "MIT", "proprietary"),
}
# Left behind by tools that ran in the template's folder.
CACHES = ("__pycache__", ".ruff_cache", ".pytest_cache", ".ipynb_checkpoints")

# When a git hook runs cookiecutter, these point git at the repository of that hook.
FOREIGN = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX")
# The first commit is the render and nothing else, whatever git is set to do on this machine.
PLAIN = (
    f"core.hooksPath={os.devnull}",
    "core.excludesFile=",
    "commit.gpgSign=false",
    "user.useConfigOnly=true",
    "maintenance.auto=false",
    # The locks and the wheel take longer to compress than to write; git packs them later anyway.
    "core.compression=0",
)
NEUTRAL = ("user.name=cookiecutter", "user.email=cookiecutter@localhost")


def main() -> None:
    """Finish the render; what fails with git is told and leaves the folder complete."""
    keep_chosen_files(".")
    # An updater names the commit it renders, and keeps the record and the history itself.
    if "_commit" in ANSWERS:
        return
    if shutil.which("git"):
        attempt(record_origin)
        attempt(commit_everything)
    else:
        print("git was not found: no first commit, no .cruft.json, so no updates.")
    print(f"Created {os.getcwd()}")


def attempt(step: Callable[[], None]) -> None:
    """Run a step whose failure is told, but does no harm to the render."""
    try:
        step()
    except subprocess.CalledProcessError as error:
        print(f"{step.__name__.replace('_', ' ')} failed: {error.stderr.strip()}")
    except (OSError, ValueError) as error:
        print(f"{step.__name__.replace('_', ' ')} failed: {error}")


def keep_chosen_files(folder: str) -> None:
    """Give the files of chosen values their plain name, and remove those of the other values."""
    values = "|".join(re.escape(value.lower()) for every in OPTIONS.values() for value in every)
    chosen = [
        value.lower()
        for option, values in OPTIONS.items()
        for value in values
        if ANSWERS[option] in (value, True)
    ]
    for entry in [*os.scandir(folder)]:
        path = entry.path
        variant = re.fullmatch(rf"(.+)__({values})([.].+)?", entry.name)
        if entry.name in CACHES or (variant and variant[2] not in chosen):
            remove(path)
            continue
        if variant:
            path = os.path.join(folder, variant[1] + (variant[3] or ""))
            remove(path)
            os.rename(entry.path, path)
        # Hidden folders hold no variants, but perhaps the history of an older render.
        if os.path.isdir(path) and not entry.name.startswith("."):
            keep_chosen_files(path)


def remove(path: str) -> None:
    """Remove a file or folder, if it is there."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.remove(path)


def record_origin() -> None:
    """Write .cruft.json as cruft itself does, so that the repository can follow the template."""
    if not os.path.exists(os.path.join(TEMPLATE_DIR, ".git")):
        print("The template is not a git repository: no .cruft.json, so no updates from it.")
        return
    status = git("--no-optional-locks", "status", "--porcelain=v2", "--branch", folder=TEMPLATE_DIR)
    commit = re.search("^# branch.oid ([0-9a-f]+)$", status, re.MULTILINE)
    if not commit:
        print("The template has no commit yet: no .cruft.json, so no updates from it.")
        return
    if re.search("^[^#]", status, re.MULTILINE):
        print("The template has uncommitted changes: .cruft.json names the commit before them.")
    address, is_local = template_address()
    of_this_run = ("_template", "_output_dir", "_repo_dir", "_checkout")
    answers = {name: value for name, value in ANSWERS.items() if name not in of_this_run}
    record = {
        "template": address,
        "commit": commit[1],
        # cookiecutter does not check anything out in a local folder, whatever it is told.
        "checkout": None if is_local else ANSWERS["_checkout"],
        "context": {"cookiecutter": answers | {"_template": address, "_commit": commit[1]}},
        "directory": None,
    }
    with open(".cruft.json", "w", encoding="utf-8") as file:
        file.write(json.dumps(record, ensure_ascii=False, indent=2) + "\n")


def template_address() -> tuple[str, bool]:
    """Say where the template can be cloned from, and whether that is a folder of this machine."""
    if ANSWERS["_repo_dir"] == ANSWERS["_template"]:
        return TEMPLATE_DIR, True
    # cookiecutter made a clone: git knows the address behind an abbreviation such as gh:team/name.
    # Its credentials are nobody else's business.
    address = git("config", "--get", "remote.origin.url", folder=TEMPLATE_DIR).strip()
    return re.sub("^(https?://)[^/@]*@", r"\1", address), False


def commit_everything() -> None:
    """Make the folder a repository whose one commit is the pristine render."""
    if os.path.exists(".git"):
        print("The folder was a git repository already: nothing was committed.")
        return
    outer = enclosing_work_tree()
    if outer and not is_ignored():
        print(f"The folder is part of the git repository {outer}: commit it there.")
        return
    git("init", "--quiet", "--initial-branch=main")
    git("add", "--all")
    commit = ("commit", "--quiet", "--message=Start from the template")
    try:
        git(*commit)
    except subprocess.CalledProcessError:
        # Most often nobody told git who commits here.
        git(*commit, settings=PLAIN + NEUTRAL)


def enclosing_work_tree() -> str | None:
    """Find the git repository that holds the folder, by its .git."""
    folder = os.path.dirname(os.getcwd())
    while not os.path.exists(os.path.join(folder, ".git")):
        if folder == os.path.dirname(folder):
            return None
        folder = os.path.dirname(folder)
    return folder


def is_ignored() -> bool:
    """Say whether the repository that holds the folder is told to ignore it."""
    try:
        git("check-ignore", "--quiet", os.getcwd(), folder="..", settings=())
    except subprocess.CalledProcessError:
        return False
    return True


def git(*arguments: str, folder: str = ".", settings: tuple[str, ...] = PLAIN) -> str:
    """Run git and return what it prints."""
    options = [part for setting in settings for part in ("-c", setting)]
    done = subprocess.run(
        ["git", *options, *arguments],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name not in FOREIGN},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        encoding="utf-8",
        errors="replace",
    )
    return done.stdout


if __name__ == "__main__":
    main()
