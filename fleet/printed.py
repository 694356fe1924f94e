"""Send what is printed into a file, by this process and by those that it starts."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def printed_to(path: Path) -> Iterator[None]:
    """Send standard output and standard error into a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    before = [os.dup(at) for at in (1, 2)]
    with open(path, "w", encoding="utf-8") as file:
        for at in (1, 2):
            os.dup2(file.fileno(), at)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for at, was in zip((1, 2), before, strict=True):
                os.dup2(was, at)
                os.close(was)
