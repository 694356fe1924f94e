"""Find in pipeline files what GoCD accepts and then does wrong.

First the shape of each file is validated; where all of that is right, names are followed from place
to place. Give all files at once: a pipeline may depend on one in another file.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from modelloop.gocd import checks, reader, shape
from modelloop.gocd.checks import Pipeline


def run(files: Sequence[Path]) -> int:
    """Print every fault of the given files; return 1 where there is any, else 0."""
    pipelines, faults = lint(files)
    print(*(faults or [f"{pipelines} pipelines in {len(files)} files: no faults"]), sep="\n")
    return 1 if faults else 0


def lint(files: Sequence[Path]) -> tuple[int, list[str]]:
    """Check files that GoCD reads together.

    Returns:
        The number of pipelines, and one sentence per fault: `file: path.to.key: what is wrong`.
    """
    contents: dict[Path, Any] = {}
    faults: list[str] = []
    for file in files:
        try:
            contents[file] = reader.read(file)
            faults += [f"{file}: {fault}" for fault in shape.check(contents[file])]
        except (OSError, ValueError, yaml.YAMLError) as error:
            faults.append(f"{file}: cannot be read: {' '.join(str(error).split())}")
    if faults:  # the other checks rely on the shape
        return 0, faults
    known: dict[str, Pipeline] = {}
    version = contents[files[0]]["format_version"] if files else ""
    for file, content in contents.items():
        if content["format_version"] != version:
            faults.append(f"{file}: format_version: is not {version}; all files need the same")
        for name, body in content.get("pipelines", {}).items():
            if name.lower() in map(str.lower, known):
                faults.append(f"{file}: pipelines.{name}: is there already; names are unique")
            known.setdefault(name, Pipeline.of(file, name, body))
    for pipeline in known.values():
        faults += [f"{pipeline.file}: {fault}" for fault in checks.check(pipeline, known)]
    return len(known), faults
