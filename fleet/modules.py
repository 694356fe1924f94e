"""Names that a repository's package cannot have: those that import already finds beside it.

`make modules` writes hooks/modules.txt from the environments that the locks make; the hook that
refuses answers reads it.
"""

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "hooks" / "modules.txt"
ENVIRONMENTS = ("main", "serve", "azureml", "airflow")
CODE = (
    "import json, sys; from importlib.metadata import packages_distributions as found;"
    "print(json.dumps([*found(), *sys.stdlib_module_names]))"
)


def main() -> None:
    """Write the file anew."""
    names = found(ROOT / "build" / "env" / name for name in ENVIRONMENTS)
    FILE.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    print(f"{FILE.relative_to(ROOT)}: {len(names)} names")


def found(environments: Iterable[Path]) -> list[str]:
    """List the names that a package could have and that are modules in some environment."""
    names: set[str] = set()
    for environment in environments:
        command = [environment / "bin" / "python", "-c", CODE]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{environment}: {done.stderr}")
        names |= {name for name in json.loads(done.stdout) if allowed(name)}
    return sorted(names)


def allowed(name: str) -> bool:
    """Whether the form of a name is one that the question allows: the others need no list."""
    return name.isidentifier() and name == name.lower() and not name.startswith("_")


if __name__ == "__main__":
    main()
