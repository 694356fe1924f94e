"""The request log: requests with their responses, so that late labels can be joined to their rows.

One folder with a file a worker; REQUEST_LOG names the folder, and without it nothing is kept. A
line holds the features and outputs that the contract names, the request's id, and nothing else.
"""

import json
import logging
from collections.abc import Iterator
from logging.handlers import RotatingFileHandler
from pathlib import Path

MAX_BYTES = 64 * 1024 * 1024  # of one file, before it is renamed
KEPT = 4  # renamed files of a worker; older ones are removed


class RequestLog:
    """The log of one worker."""

    def __init__(self, folder: Path, worker: int) -> None:
        """Open this worker's file, which no other process writes."""
        folder.mkdir(parents=True, exist_ok=True)
        self._handler = RotatingFileHandler(
            folder / f"requests-{worker}.jsonl", maxBytes=MAX_BYTES, backupCount=KEPT
        )

    def write(self, entry: dict[str, object]) -> None:
        """Add one line, which survives the end of the process."""
        line = json.dumps(entry, ensure_ascii=False, separators=(",", ":"))
        self._handler.handle(logging.makeLogRecord({"msg": line}))


def entries(folder: Path) -> Iterator[dict[str, object]]:
    """Every entry of every worker, in no particular order."""
    for path in sorted(folder.glob("requests-*.jsonl*")):
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                try:
                    yield json.loads(line)
                except ValueError:
                    continue  # a crash cut it off
