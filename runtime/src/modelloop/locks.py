"""Exclusive locks between processes of one machine, held on a file or folder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class LockedError(Exception):
    """Another process holds the lock."""


@contextmanager
def exclusive(path: Path, *, wait: bool = True) -> Iterator[int]:
    """Hold a lock until the block ends; the file is made where there is none.

    The lock belongs to the open file: a subprocess that inherits it holds it on to its own end.

    Args:
        path: a file, or a folder that exists.
        wait: wait for the process that holds it.

    Yields:
        The descriptor of the open file.

    Raises:
        LockedError: another process holds it, and `wait` is false.
        OSError: it cannot be opened.
    """
    flags = os.O_RDONLY if path.is_dir() else os.O_WRONLY | os.O_CREAT
    handle = os.open(path, flags, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise LockedError(f"{path} is locked by another process") from error
        yield handle
    finally:
        os.close(handle)
