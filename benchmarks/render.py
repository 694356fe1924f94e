"""Measure a render: the processor time of `cookiecutter --no-input .` beyond its mere start."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COOKIECUTTER = Path(sys.executable).with_name("cookiecutter")
ROUNDS = 5
LIMIT = 0.4


def main() -> int:
    """Print the figures; 1 when a render costs more than it may."""
    start = seconds("--version")
    render = seconds(str(ROOT), "--no-input", "--default-config") - start
    print(
        f"render: {render:.2f} s of processor time beyond a start of {start:.2f} s, limit {LIMIT}"
    )
    return int(render > LIMIT)


def seconds(*arguments: str) -> float:
    """Run cookiecutter a few times; return the least processor time of it and its children."""
    used = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            before = os.times()
            subprocess.run(
                [COOKIECUTTER, *arguments],
                cwd=folder,
                env=os.environ | {"HOME": folder, "TMPDIR": folder},
                check=True,
                capture_output=True,
            )
            after = os.times()
        children = (after.children_user, after.children_system)
        used.append(sum(children) - before.children_user - before.children_system)
    return min(used)


if __name__ == "__main__":
    sys.exit(main())
