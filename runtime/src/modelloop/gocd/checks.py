"""Check what no schema can say of pipelines: names, fetches, commands, parameters.

All of it relies on the shape that `shape.check` validates.
"""

import fnmatch
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from posixpath import basename, join, normpath
from typing import Any

Faults = Iterator[str]  # path.to.key: what is wrong; what is allowed
Known = Mapping[str, "Pipeline"]  # the pipelines of all given files, by name


@dataclass(frozen=True)
class Stage:
    """A stage, its name, and its path in the file."""

    path: str
    name: str
    body: dict[str, Any]


@dataclass(frozen=True)
class Pipeline:
    """A pipeline of the right shape, and the file that it is in."""

    file: Path
    name: str
    body: dict[str, Any]
    stages: list[Stage]

    @classmethod
    def of(cls, file: Path, name: str, body: dict[str, Any]) -> "Pipeline":
        """Find a pipeline's stages; lists in their list are flattened, as GoCD does."""
        items = _flat(body.get("stages", []), f"pipelines.{name}.stages")
        stages = [
            Stage(f"{at}.{stage}", stage, item[stage]) for at, item in items for stage in item
        ]
        return cls(file, name, body, stages)

    @property
    def path(self) -> str:
        """Its place in the file."""
        return f"pipelines.{self.name}"

    @property
    def materials(self) -> dict[str, dict[str, str]]:
        """The repositories, packages and pipelines that it depends on, by name."""
        found: dict[str, dict[str, str]] = self.body["materials"]
        return found

    @property
    def jobs(self) -> dict[str, dict[str, dict[str, Any]]]:
        """By stage and job; empty where the stages are in a template on the server."""
        return {stage.name: stage.body["jobs"] for stage in self.stages}


def check(pipeline: Pipeline, known: Known) -> Faults:
    """Give every fault of a pipeline as `path.to.key: what is wrong; allowed: what is`."""
    yield from _check_stages(pipeline)
    yield from _check_materials(pipeline, known)
    yield from _check_label(pipeline)
    yield from _check_fetches(pipeline, known)
    yield from _check_commands(pipeline)
    yield from _check_parameters(pipeline)


def _check_stages(pipeline: Pipeline) -> Faults:
    """A stage's name comes once."""
    names: set[str] = set()
    for stage in pipeline.stages:
        if stage.name.lower() in names:
            yield f"{stage.path}: stage {stage.name} is there already; names are unique"
        names.add(stage.name.lower())


def _check_materials(pipeline: Pipeline, known: Known) -> Faults:
    """Checkouts are in folders of their own, and the stages that are depended on exist."""
    folders: list[str] = []
    materials = pipeline.materials
    checkouts = [name for name, m in materials.items() if not m.keys() & {"pipeline", "package"}]
    for name, material in materials.items():
        path = f"{pipeline.path}.materials.{name}"
        upstream = known.get(material.get("pipeline", ""))
        if name in checkouts and len(checkouts) > 1:
            folders.append(normpath(material.get("destination", ".")))
            if folders[-1] in (".", *folders[:-1]):
                yield f"{path}: has no destination of its own; each of several checkouts needs one"
        elif "pipeline" in material and not upstream:
            yield f"{path}.pipeline: is in no given file; allowed: {', '.join(known)}"
        elif upstream and upstream.jobs and material["stage"] not in upstream.jobs:
            yield f"{path}.stage: does not exist; allowed: {', '.join(upstream.jobs)}"


def _check_label(pipeline: Pipeline) -> Faults:
    """The label names materials, variables of the environment, and COUNT."""
    names = "|".join(["COUNT", *pipeline.materials])
    for name in re.findall(r"\$([^}]*\}?)", pipeline.body.get("label_template", "")):
        if not re.fullmatch(r"(?i)\{(env:\w+|" + names + r")(\[:\d+\])?\}", name):
            yield f"{pipeline.path}.label_template: ${name} is unknown; allowed: env:NAME, {names}"


def _check_fetches(pipeline: Pipeline, known: Known) -> Faults:
    """A job that is done by then publishes what a fetch names."""
    for position, stage in enumerate(pipeline.stages):
        for path, fetch in _below(stage.body, stage.path):
            if path.endswith(".fetch") and isinstance(fetch, dict) and "stage" in fetch:
                faults = _check_fetch(fetch, position, pipeline, known)
                yield from (f"{path}.{fault}" for fault in faults)


def _check_fetch(fetch: dict[str, str], position: int, pipeline: Pipeline, known: Known) -> Faults:
    """Check one fetch of the pipeline's stage at this position."""
    source, done = pipeline, list(pipeline.jobs)[:position]
    way = fetch.get("pipeline", pipeline.name).split("/")
    for name in reversed(way) if way != [pipeline.name] else ():
        last = [m["stage"] for m in source.materials.values() if m.get("pipeline") == name]
        if not last or name not in known:
            yield (
                f"pipeline: {name} is no material of {source.name}; allowed: one, or a way "
                "first/next"
            )
            return
        source = known[name]
        done = list(source.jobs)
        done = done[: done.index(last[0]) + 1] if last[0] in done else done
    if not source.jobs:
        return  # they are in a template on the server
    jobs = source.jobs.get(fetch["stage"], {})
    if fetch["stage"] not in done:
        yield f"stage: is not done by then; allowed: {', '.join(done) or 'none'}"
    elif fetch["job"] not in jobs:
        yield f"job: does not exist; allowed: {', '.join(jobs)}"
    else:
        yield from _check_artifact(fetch, jobs[fetch["job"]].get("artifacts", []))


def _check_artifact(fetch: dict[str, str], artifacts: list[dict[str, dict[str, str]]]) -> Faults:
    """Check that a fetch names one of the artifacts that a job publishes."""
    ids = [artifact["external"]["id"] for artifact in artifacts if "external" in artifact]
    places = ["cruise-output", *(_published(a) for a in artifacts if "external" not in a)]
    source = normpath(fetch.get("source", ".")) + "/"
    holders = [p for p in places if fnmatch.fnmatch(source, f"{p}/*") or p.startswith(source)]
    if ("artifact_id" in fetch) != (fetch.get("artifact_origin") == "external"):
        yield "artifact_origin: does not fit the other keys; allowed: external with artifact_id"
    elif "source" in fetch and not holders:
        yield f"source: is not published; allowed: {', '.join(places)}, or below"
    elif "artifact_id" in fetch and fetch["artifact_id"] not in ids:
        yield f"artifact_id: is not published; allowed: {', '.join(ids) or 'none'}"


def _published(artifact: dict[str, dict[str, str]]) -> str:
    """Where an artifact is stored: in its destination, without the folders before any * or ?."""
    (body,) = artifact.values()
    source = normpath(body["source"])
    folders, _, _ = re.split("[*?]", source, maxsplit=1)[0].rpartition("/")
    place = join(body.get("destination", ""), source.removeprefix(f"{folders}/"))
    return normpath(place.replace("**/", "*"))


def _check_commands(pipeline: Pipeline) -> Faults:
    """No command needs a shell that is not there; a Makefile has the verbs that make is given."""
    makefile = pipeline.file.resolve().parents[1] / "Makefile"
    rules = makefile.read_text(encoding="utf-8") if makefile.exists() else ""
    verbs = " ".join(re.findall(r"^([^\s#:=][^:=#\n]*):(?!=)", rules, re.MULTILINE)).split()
    verb = r"-|\w+=|(" + "|".join(map(re.escape, verbs)) + ")$" if rules else ""
    for path, body in _below(pipeline.body, pipeline.path):
        if not (path.endswith(".exec") and isinstance(body, dict) and "command" in body):
            continue
        program, arguments = basename(body["command"]), body.get("arguments", [])
        flags = [i for i, text in enumerate(arguments) if re.fullmatch("-[a-z]*c", text)]
        script = flags[0] + 1 if flags and re.fullmatch("(ba|da|a|k|z)?sh", program) else None
        if script and len(arguments) != script + 1:
            yield f"{path}.arguments: -c runs one text; allowed: exactly one after it"
            continue
        for i, text in enumerate(arguments[:script]):
            where = f"{path}.arguments.{i}: {text}"
            if re.search(r"\$[\w({]|[|<>`]|&&", text):
                yield f"{where} needs a shell; allowed: a text without $ | < > ` and &&"
            elif program == "make" and not re.match(verb, text):
                yield f"{where} is not in the Makefile; allowed: its verbs and NAME=value"


def _check_parameters(pipeline: Pipeline) -> Faults:
    """Where there are parameters, every # is doubled or begins one; elsewhere it begins none."""
    names = pipeline.body.get("parameters", {})
    for path, text in _below(pipeline.body | {"parameters": ""}, pipeline.path):
        for found in re.findall(r"#(#|\{[^}]*\}|)", text) if isinstance(text, str) else ():
            if found != "#" and (found or names) and found.strip("{}") not in names:
                yield f"{path}: #{found} is no parameter; allowed: {', '.join(['##', *names])}"


def _flat(items: list[Any], path: str) -> Iterator[tuple[str, Any]]:
    """The items of a list and of the lists in it, with their paths."""
    for i, item in enumerate(items):
        yield from _flat(item, f"{path}.{i}") if isinstance(item, list) else [(f"{path}.{i}", item)]


def _below(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """A value and all that it holds, with their paths."""
    yield path, value
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from _below(item, f"{path}.{key}")
