"""A stand-in for podman: an image is a folder with its model, and what is pushed has a digest.

Run as a program. CONTAINER_IMAGES is the folder in which images are kept: by tag until they are
pushed, then by digest.
"""

import hashlib
import os
import shutil
import sys
from pathlib import Path

RUN = """
export MODEL_DIR="$CONTAINER_IMAGES/${1#*@sha256:}" SERVE_HOST=127.0.0.1
export SERVE_PORT="$2" METRICS_PORT="$3"
exec "$SERVE_PYTHON" -m modelloop serve
"""


def install(folder: Path) -> dict[str, str]:
    """Make the program, and the one that runs an image; returns the environment of their users."""
    folder.mkdir()
    build = f'exec "{sys.executable}" -E -S "{__file__}" "$@"\n'
    return {
        "CONTAINER_TOOL": program(folder / "podman", build),
        "CONTAINER_IMAGES": str(folder / "images"),
        "KUBECTL_POD": program(folder / "pod", RUN),
    }


def program(path: Path, script: str) -> str:
    """Make a program of a shell script; returns its path."""
    path.write_text(f"#!/bin/sh\n{script}")
    path.chmod(0o755)
    return str(path)


def main(words: list[str]) -> int:
    """Build or push."""
    images = Path(os.environ["CONTAINER_IMAGES"])
    tag = words[words.index("--tag") + 1] if "--tag" in words else words[-1]
    image = images / tag.replace("/", "_")
    if words[0] == "build":
        shutil.rmtree(image, ignore_errors=True)
        shutil.copytree(Path(words[-1]) / "build" / "model", image)
        print(f"built {tag}")
    else:
        content = b"".join(file.read_bytes() for file in sorted(image.iterdir()) if file.is_file())
        digest = hashlib.sha256(content).hexdigest()
        shutil.copytree(image, images / digest, dirs_exist_ok=True)
        Path(words[words.index("--digestfile") + 1]).write_text(f"sha256:{digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
