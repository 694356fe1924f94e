"""Build the library's wheel into the template, and write its hash into the locks.

`make wheel` after every change of runtime/: repositories install exactly what is committed here.
The build is reproducible, so a test rebuilds the wheel and compares: sources and wheel cannot part.
"""

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from errors import UserError

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = "runtime"
REPOSITORY = "{{cookiecutter.project_slug}}"
# The oldest time that a zip file can hold: the wheel's bytes follow from the sources alone.
EPOCH = "315532800"
PIN = re.compile(r"^modelloop==\S+ \\\n    --hash=sha256:[0-9a-f]{64}$", re.MULTILINE)


def main() -> None:
    """Build, and say what that changed."""
    wheel, changed = write()
    size = wheel.stat().st_size // 1024
    print(f"{wheel.relative_to(ROOT)}, {size} KiB; locks changed: {len(changed)}")


def write(root: Path = ROOT) -> tuple[Path, list[Path]]:
    """Build, replace the wheel in vendor/, and pin it in every lock that holds it.

    Returns:
        The wheel, and the locks that changed.
    """
    vendor = root / REPOSITORY / "vendor"
    vendor.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        built = build(Path(folder), root)
        content = built.read_bytes()
    for old in vendor.glob("modelloop-*.whl"):
        old.unlink()
    wheel = vendor / built.name
    wheel.write_bytes(content)
    return wheel, [path for path in locks(root) if pin(path, version(root), content)]


def build(folder: Path, root: Path = ROOT) -> Path:
    """Build the wheel into a folder; returns its path.

    Raises:
        UserError: The sources cannot be built.
    """
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    done = subprocess.run(
        [*command, "--directory", str(folder)],
        cwd=root / LIBRARY,
        env=os.environ | {"SOURCE_DATE_EPOCH": EPOCH},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise UserError(f"the wheel cannot be built: {done.stdout}{done.stderr}")
    (found,) = folder.glob("*.whl")
    return found


def version(root: Path = ROOT) -> str:
    """Read the library's version from its pyproject.toml."""
    content = tomllib.loads((root / LIBRARY / "pyproject.toml").read_text(encoding="utf-8"))
    found: str = content["project"]["version"]
    return found


def set_version(root: Path, wanted: str) -> None:
    """Write the library's version into its pyproject.toml."""
    path = root / LIBRARY / "pyproject.toml"
    text = path.read_text(encoding="utf-8")
    line = f'version = "{wanted}"'
    path.write_text(re.sub(r'^version = ".*"$', line, text, count=1, flags=re.MULTILINE))


def locks(root: Path = ROOT) -> list[Path]:
    """List the locks of a repository that hold the library."""
    folder = root / REPOSITORY
    found = [*folder.glob("requirements/*.txt"), *folder.glob("deploy/*.txt")]
    return [path for path in sorted(found) if PIN.search(path.read_text(encoding="utf-8"))]


def pin(lock: Path, wanted: str, wheel: bytes) -> bool:
    """Write version and hash of a wheel into a lock; returns whether that changed it."""
    before = lock.read_text(encoding="utf-8")
    digest = hashlib.sha256(wheel).hexdigest()
    after = PIN.sub(f"modelloop=={wanted} \\\n    --hash=sha256:{digest}", before)
    lock.write_text(after, encoding="utf-8")
    return after != before


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
