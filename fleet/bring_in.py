"""Bring merged files into a work tree in one short step that can be undone.

A journal in the git directory names the state before. Whoever finds it there restores that state
first: either the step is done, or nothing has happened.
"""

import contextlib
import fcntl
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from errors import UserError
from git_tool import Files, GitError, changed, files_of, git, look
from merge import Stages

JOURNAL = "template-update.json"
HELD_BACK = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


@contextlib.contextmanager
def alone(project: Path) -> Iterator[None]:
    """Keep other updates of this repository out, and undo one that was interrupted.

    Raises:
        UserError: Another one is running.
    """
    with open(git_folder(project) / "template-update.lock", "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError("another update of this repository is running") from None
        # git, too, holds the lock as long as it runs: it may outlive this process.
        os.set_inheritable(lock.fileno(), True)
        if undo(project):
            print("An update was interrupted: the state before it is restored.")
        yield


def bring_in(project: Path, tree: str, conflicts: Stages) -> None:
    """Make index and work tree what was merged; nothing is committed.

    Args:
        project: A repository whose tracked files are as committed.
        tree: What was merged, with markers.
        conflicts: The sides of what is in conflict, for the index.

    Raises:
        UserError: git could not; the state before is restored.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
    try:
        open_journal(project, tree)
        write_files(project, tree)
        mark_conflicts(project, conflicts)
        close_journal(project)
    except (GitError, OSError) as error:
        undo(project)
        raise UserError(f"{error}. Nothing was changed.") from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def open_journal(project: Path, tree: str) -> None:
    """Note what is about to be written over what."""
    head = git("rev-parse", "HEAD", folder=project).strip()
    journal = git_folder(project) / JOURNAL
    draft = journal.with_suffix(".new")
    draft.write_text(json.dumps({"head": head, "tree": tree}), encoding="utf-8")
    draft.replace(journal)


def write_files(project: Path, tree: str) -> None:
    """Let git write what differs from HEAD, into the work tree and the index."""
    # A copied repository looks changed to git, until it has looked at every file again.
    git("update-index", "-q", "--refresh", folder=project, accept=(0, 1))
    git("read-tree", "-m", "-u", "HEAD", tree, folder=project)


def mark_conflicts(project: Path, conflicts: Stages) -> None:
    """Put the sides of a conflict into the index, so that git refuses to commit it."""
    lines = []
    for path, sides in conflicts.items():
        lines.append(f"0 {'0' * 40}\t{path}\0")
        lines += [f"{mode} {blob} {at}\t{path}\0" for at, (mode, blob) in sorted(sides.items())]
    if lines:
        git("update-index", "-z", "--index-info", folder=project, text="".join(lines))


def close_journal(project: Path) -> None:
    """Forget the state before."""
    (git_folder(project) / JOURNAL).unlink()


def undo(project: Path) -> bool:
    """Restore the state before an interrupted step; False where there is none to restore.

    What a person has edited since then is left as it is.
    """
    journal = git_folder(project) / JOURNAL
    if not journal.exists():
        return False
    noted = json.loads(journal.read_text(encoding="utf-8"))
    is_there = look("rev-parse", "HEAD", folder=project) == noted["head"]
    if is_there:
        # Of the git that died: the lock of updates is ours.
        (git_folder(project) / "index.lock").unlink(missing_ok=True)
        old, new = files_of(project, "HEAD"), files_of(project, noted["tree"])
        written = [path for path in changed(old, new) if is_ours(project, path, new)]
        git("read-tree", "HEAD", folder=project)
        for path in written:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                (project / path).unlink()
            if path in old:
                git("checkout-index", "--force", "--", path, folder=project)
            else:
                remove_empty_folders(project, path)
        git("update-index", "-q", "--refresh", folder=project, accept=(0, 1))
    journal.unlink()
    return is_there


def is_ours(project: Path, path: str, new: Files) -> bool:
    """Say whether a file is what the step wrote, or began to write, or deleted."""
    file = project / path
    if not os.path.lexists(file):
        return True
    if path not in new or file.is_symlink() or not file.is_file():
        return False
    blob = new[path].blob
    if git("hash-object", f"--path={path}", "--", str(file), folder=project).strip() == blob:
        return True
    begun = file.read_bytes().decode("utf-8", "surrogateescape")
    return git("cat-file", "blob", blob, folder=project).startswith(begun)


def remove_empty_folders(project: Path, path: str) -> None:
    """Remove the folders of a file that is gone, where nothing else is in them."""
    for folder in (project / path).parents:
        if folder == project or not folder.is_dir() or any(folder.iterdir()):
            return
        folder.rmdir()


def git_folder(project: Path) -> Path:
    """Return where git keeps this work tree's own state."""
    return Path(git("rev-parse", "--absolute-git-dir", folder=project).strip())
