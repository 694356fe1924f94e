"""A stand-in for podman: an image is a folder with its model, and what is pushed has a digest.

Run as a program. CONTAINER_IMAGES is the folder in which images are kept: by tag until they are
pushed, then by digest.
"""

import hashlib
import os
import shutil
import sys
from pathlib import Path


def install(folder: Path) -> dict[str, str]:
    """Make the program; returns the environment of those who use it."""
    folder.mkdir()
    program = folder / "podman"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -E -S "{__file__}" "$@"\n')
    program.chmod(0o755)
    return {"CONTAINER_TOOL": str(program), "CONTAINER_IMAGES": str(folder / "images")}


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
