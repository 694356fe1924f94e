"""Find in pipeline files what GoCD accepts and then does wrong: `python ci/gocd_lint.py FILE...`.

A table says what a file may hold, level by level; where all of that is right, checks follow names
from place to place. Give all files at once: a pipeline may depend on one in another file.
"""

import argparse
import difflib
import fnmatch
import re
from collections.abc import Iterator
from pathlib import Path
from posixpath import basename, join, normpath
from typing import Any

import yaml

# A row is a level, key=kind for each of its keys. Marks: ! is required, ^ excludes the other ^, of
# all ? one at least is required. A kind is a text (of TEXTS, or one|of|these), [a list], [*a list
# that GoCD flattens], {a map}, {kind of name:kind of value}, <a map of one name>, or a level; a
# material is told by one of its keys, an approval by its type. +level adds the keys of another.
TABLE = r"""
root          format_version!=10|11 common=anything pipelines={pipeline} environments={environment}
variables     environment_variables={variable:value}
environment   pipelines=[name] agents=[text] +variables
pipeline      group=name label_template=text display_order=integer timer=timer parameters={any}
              lock_behavior=none|lockOnFailure|unlockWhenFinished tracking_tool=tracking_tool
              materials!={material} stages?^=[*<stage>] template?^=name +variables
timer         spec!=quartz only_on_changes=boolean
tracking_tool link!=text regex!=text
checkout      destination=local auto_update=boolean ignore^=[text] includes^=[text]
login         username=text password=hidden +checkout
material.git      git=text branch=text shallow_clone=boolean +login
material.hg       hg=text branch=text +login
material.svn      svn=text check_externals=boolean +login
material.p4       p4=text view!=text use_tickets=boolean +login
material.scm      scm=text +checkout
material.type     type=configrepo +checkout
material.package  package=text
material.pipeline pipeline=name stage!=name ignore_for_scheduling=boolean
stage         fetch_materials=boolean keep_artifacts=boolean clean_workspace=boolean jobs!={job}
              approval=approval +variables
approval.auto     type=text roles=[text] users=[text]
approval.success  +approval.auto
approval.manual   type=text roles?=[text] users?=[text] allow_only_on_success=boolean
job           timeout=integer run_instances=all|\d+ tabs={local} resources^=[text] +variables
              elastic_profile_id^=text artifacts=[artifact] tasks!=[*task]
artifact      build=published test=published external=stored
published     source!=local destination=local
stored        id!=name store_id!=name configuration=configuration
configuration options={any}
task          exec=exec fetch=fetch
handling      run_if=passed|failed|any on_cancel=on_cancel
on_cancel     exec=command
command       command!=word arguments=[text] working_directory=local
exec          +command +handling
fetch         pipeline=text stage!=name job!=name source?^=entry artifact_id?^=name is_file=boolean
              artifact_origin=gocd|external destination=local configuration=configuration +handling
"""
SECRET = r"\{\{SECRET:\[[^][]+\]\[[^][]+\]\}\}"
SECRET_WORDS = 'nothing but a quoted "{' + '{SECRET:[configuration][key]}}"'
QUARTZ = "(F F F [?] F F|F F F F F [?])( F)?".replace("F", "[A-Za-z0-9*/,#-]+")
TEXTS = {
    "any": ("(?s).*", "any text"),
    "text": (r"(?s)(?!.*\{\{SECRET).+", "a text (an unquoted # starts a comment), no secret"),
    "word": (r"(?!.*[$|<>`&])\S+", "one word: there is no shell, arguments are a list"),
    "name": (r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,254}", "up to 255 letters, digits, _ - . (not first)"),
    "variable": ("(?!GO_)[A-Za-z_][A-Za-z0-9_]*", "letters, digits, _; no digit or GO_ in front"),
    "value": (r"(?s)(?!(null|~)$|.*(SECRET|\{\{)).*|" + SECRET, f'"", a text, or {SECRET_WORDS}'),
    "hidden": (f"|{SECRET}", f'"" or, since the name tells of a secret, {SECRET_WORDS}'),
    "integer": (r"-?\d+", "an integer"),
    "boolean": ("(?i:true|false|yes|no|on|off|y|n)", "true or false"),
    "local": (r"(?!/)(?!(.*/)?\.\.(/|$)).+", "a path below the working folder, without .."),
    "entry": (r"(?!/)(?!(.*/)?\.\.(/|$))[^*?]+", "a path among the artifacts, without .., * and ?"),
    "configrepo": ("configrepo", "configrepo; others are told by git, hg, svn, p4 or scm: URL"),
    "quartz": (QUARTZ, "6 or 7 fields, ? as day of the month (4th) or as day of the week (6th)"),
}
ENCRYPTED = f"works on one server only, use environment_variables or password: {SECRET_WORDS}"
REFUSED = dict.fromkeys(("script", "plugin", "ant", "nant", "rake"), "exec a verb of the Makefile")
REFUSED |= dict.fromkeys(("secure_variables", "encrypted_password", "secure_options"), ENCRYPTED)
REFUSED["tasks"] = "put them under a job of jobs"
Faults = Iterator[str]  # path.to.key: what is wrong; what is allowed
LEVELS: dict[str, dict[str, tuple[str, str]]] = {}  # of each level the keys, with marks and kind
for row in re.sub("\n +", " ", TABLE).split("\n")[1:-1]:
    added = LEVELS[row.split()[0]] = {}
    for name, marks, kind in re.findall(r" \+?([\w.]+)([!?^]*)=?(\S*)", row):
        added |= {name: (marks, kind)} if kind else LEVELS[name]


def main(arguments: list[str] | None = None) -> int:
    """Print every fault of the given files; return 1 where there is any, else 0."""
    parser = argparse.ArgumentParser(description="Find what GoCD would accept and then do wrong.")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    pipelines, faults = lint(files := parser.parse_args(arguments).files)
    print(*(faults or [f"{pipelines} pipelines in {len(files)} files: no faults"]), sep="\n")
    return 1 if faults else 0


def lint(files: list[Path]) -> tuple[int, list[str]]:
    """Return the number of pipelines, and the faults of files that GoCD reads together."""
    roots, faults, known = {}, [], {}
    for file in files:
        try:
            roots[file] = yaml.load(file.read_text("utf-8"), Loader) or "nothing"
            faults += [f"{file}: {e.lstrip('.: ')}" for e in check_shape("root", roots[file], "")]
        except (OSError, ValueError, yaml.YAMLError) as error:
            faults.append(f"{file}: cannot be read: {' '.join(str(error).split())}")
    if faults:  # the other checks rely on the shape
        return 0, faults
    for file, root in roots.items():
        if root["format_version"] != (first := roots[files[0]]["format_version"]):
            faults.append(f"{file}: format_version: is not {first}; all files need the same")
        for name, body in root.get("pipelines", {}).items():
            if name.lower() in map(str.lower, known):
                faults.append(f"{file}: pipelines.{name}: is there already; names are unique")
            known.setdefault(name, Pipeline(file, name, body, known))
    for pipeline in known.values():
        for check in (check_names, check_fetches, check_commands, check_hashes):
            faults += [f"{pipeline.file}: {fault}" for fault in check(pipeline)]
    return len(known), faults


class Loader(yaml.BaseLoader):
    """Reads as GoCD does: every scalar is a text, and no key comes twice, not even by a <<."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[str, Any]:
        """Refuse what GoCD's reader refuses."""
        result: dict[str, Any] = {}
        for nodes in node.value:
            key, value = (self.construct_object(item, deep=True) for item in nodes)
            sources = value if isinstance(value, list) else [value]
            problem = None
            if not isinstance(key, str):
                problem = "a key that is no text: quote a text that begins with a brace"
            elif key == "<<" and not all(isinstance(source, dict) for source in sources):
                problem = "<< merges maps only"
            elif key in result:
                problem = f"duplicate key {key}: write << after the keys that it shall not replace"
            if problem:
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=nodes[0].start_mark)
            for source in sources if key == "<<" else [{key: value}]:
                result |= source | result
        return result


class Pipeline:
    """A pipeline of the right shape: its stages and jobs by name, with their paths."""

    def __init__(self, file: Path, name: str, body: dict[str, Any], known: dict) -> None:
        self.file, self.name, self.body, self.known = file, name, body, known
        self.path = f"pipelines.{name}"
        self.materials: dict[str, dict[str, str]] = body["materials"]
        stages = flat(body.get("stages", []), f"{self.path}.stages")
        self.stages = [(f"{at}.{name}", name, item[name]) for at, item in stages for name in item]
        self.jobs = {name: stage["jobs"] for _, name, stage in self.stages}


def check_shape(kind: str, value: Any, path: str) -> Faults:
    """Hold a value against its kind in TABLE, and what it holds against theirs."""
    value = {"type": value} if kind == "approval" and isinstance(value, str) else value
    text = (kind, kind.replace("|", " or ")) if "|" in kind else TEXTS.get(kind)
    wanted = str if text else list if kind[0] == "[" else dict
    if kind == "anything":
        return
    if not isinstance(value, wanted) or value in ([], {}):
        words = text[1] if text else f"a {'list' if wanted is list else 'map'} that is not empty"
        yield f"{path}: {value!r:.60} is the wrong kind; allowed: {words}"
    elif text:
        if not re.fullmatch(text[0], value):
            shown = "the value" if kind == "hidden" else f"{value!r:.80}"  # not into logs
            yield f"{path}: {shown} is not right; allowed: {text[1]}"
    elif wanted is list:
        for where, item in flat(value, path, nested=kind[1] == "*"):
            yield from check_shape(kind.strip("[*]"), item, where)
    elif len(value) > 1 and (kind[0] == "<" or kind in ("artifact", "task", "on_cancel")):
        yield f"{path}: of {', '.join(value)} GoCD reads only the first; allowed: one key"
    elif kind[0] in "{<":
        name_kind, _, kind = kind[1:-1].rpartition(":")
        for name, item in value.items():
            yield from check_shape(name_kind or "name", name, f"{path}.{name}")
            hidden = kind == "value" and re.search("(?i)(password|token|secret|key)$", name)
            yield from check_shape("hidden" if hidden else kind, item, f"{path}.{name}")
    else:
        tags = [f".{value.get('type')}"] if kind == "approval" else [f".{key}" for key in value]
        levels = [kind + tag for tag in ["", *tags] if kind + tag in LEVELS]
        if len(levels) == 1:
            yield from check_keys(LEVELS[levels[0]], value, path)
        else:
            choices = [level.split(".")[1] for level in LEVELS if level.startswith(f"{kind}.")]
            yield f"{path}: {' '.join(tags)}; allowed: exactly one of {', '.join(choices)}"


def check_keys(level: dict[str, tuple[str, str]], value: dict[str, Any], path: str) -> Faults:
    """Hold the keys of a map against its level, and their values against their kinds."""
    for key, item in value.items():
        if key in level:
            yield from check_shape(level[key][1], item, f"{path}.{key}")
        else:
            close = difflib.get_close_matches(key, level, n=1)
            hint = REFUSED.get(key, f"did you mean {close[0]}?" if close else "unknown")
            yield f"{path}.{key}: is not allowed here: {hint}; allowed: {', '.join(level)}"
    marked = {mark: [key for key in level if mark in level[key][0]] for mark in "!?^"}
    if len(apart := [key for key in marked["^"] if key in value]) > 1:
        yield f"{path}: {' and '.join(apart)} together; only one of them is allowed"
    if value.keys() <= level.keys():  # else the missing key may be there, misspelt
        for group in [[key] for key in marked["!"]] + [marked["?"]] * bool(marked["?"]):
            if not value.keys() & set(group):
                yield f"{path}: has no {' or '.join(group)}; one is required"


def flat(values: Any, path: str, nested: bool = True) -> Iterator[tuple[str, Any]]:
    """Give the items of a list and their paths; where nested, those of a list within it, too."""
    for i, item in enumerate(values):
        deeper = nested and isinstance(item, list)
        yield from flat(item, f"{path}.{i}") if deeper else [(f"{path}.{i}", item)]


def below(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Give a value and all that it holds, with their paths."""
    yield path, value
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items if not isinstance(value, str) else ():
        yield from below(item, f"{path}.{key}")


def check_names(pipeline: Pipeline) -> Faults:
    """Stages come once, checkouts lie apart, dependencies and what the label names exist."""
    for i, (path, name, _) in enumerate(pipeline.stages):
        if name.lower() in (other.lower() for _, other, _ in pipeline.stages[:i]):
            yield f"{path}: stage {name} is there already; names are unique"
    folders: list[str] = []
    checkouts = [m for m in pipeline.materials.values() if not m.keys() & {"pipeline", "package"}]
    for name, material in pipeline.materials.items():
        path = f"{pipeline.path}.materials.{name}"
        upstream = pipeline.known.get(material.get("pipeline", ""))
        if len(checkouts) > 1 and material in checkouts:
            folders.append(normpath(material.get("destination", ".")))
            if folders[-1] in (".", *folders[:-1]):
                yield f"{path}: has no destination of its own; each of several checkouts needs one"
        elif "pipeline" in material and not upstream:
            yield f"{path}.pipeline: is in no given file; allowed: {', '.join(pipeline.known)}"
        elif upstream and upstream.jobs and material["stage"] not in upstream.jobs:
            yield f"{path}.stage: does not exist; allowed: {', '.join(upstream.jobs)}"
    names = "|".join(["COUNT", *pipeline.materials])
    for name in re.findall(r"\$([^}]*\}?)", pipeline.body.get("label_template", "")):
        if not re.fullmatch(r"(?i)\{(env:\w+|" + names + r")(\[:\d+\])?\}", name):
            yield f"{pipeline.path}.label_template: ${name} is unknown; allowed: env:NAME, {names}"


def check_fetches(pipeline: Pipeline) -> Faults:
    """What a fetch names is published by a job that is done by then."""
    for place, (stage_path, _, stage) in enumerate(pipeline.stages):
        for path, fetch in below(stage, stage_path):
            if path.endswith(".fetch") and isinstance(fetch, dict) and "stage" in fetch:
                yield from (f"{path}.{e}" for e in check_fetch(fetch, place, pipeline))


def check_fetch(fetch: dict[str, str], place: int, at: Pipeline) -> Faults:
    """Hold one fetch of the stage in this place against what is published by then."""
    stages, way = list(at.jobs)[:place], fetch.get("pipeline", at.name).split("/")
    for name in reversed(way) if way != [at.name] else ():
        last = [m["stage"] for m in at.materials.values() if m.get("pipeline") == name]
        if not last or name not in at.known:
            yield f"pipeline: {name} is no material of {at.name}; allowed: one, or a way first/next"
            return
        at, stages = at.known[name], list(at.known[name].jobs)
        stages = stages[: stages.index(last[0]) + 1] if last[0] in stages else stages
    jobs = at.jobs.get(fetch["stage"], {})
    if not at.jobs:
        return  # they are in a template on the server
    if fetch["stage"] not in stages:
        yield f"stage: is not done by then; allowed: {', '.join(stages) or 'none'}"
    elif fetch["job"] not in jobs:
        yield f"job: does not exist; allowed: {', '.join(jobs)}"
    else:
        artifacts = jobs[fetch["job"]].get("artifacts", [])
        ids = [artifact["external"]["id"] for artifact in artifacts if "external" in artifact]
        places = ["cruise-output", *(published(a) for a in artifacts if "external" not in a)]
        source = normpath(fetch.get("source", ".")) + "/"
        held = [p for p in places if fnmatch.fnmatch(source, f"{p}/*") or p.startswith(source)]
        if ("artifact_id" in fetch) != (fetch.get("artifact_origin") == "external"):
            yield "artifact_origin: does not fit the other keys; allowed: external with artifact_id"
        elif "source" in fetch and not held:
            yield f"source: is not published; allowed: {', '.join(places)}, or below"
        elif fetch.get("artifact_id") not in [None, *ids]:
            yield f"artifact_id: is not published; allowed: {', '.join(ids) or 'none'}"


def published(artifact: dict[str, dict[str, str]]) -> str:
    """Return where an artifact lies: in its destination, without the folders before any * or ?."""
    (body,) = artifact.values()
    source = normpath(body["source"])
    folders = re.match(r"([^*?/]+/)*", source)[0]
    place = join(body.get("destination", ""), source[len(folders) :])
    return normpath(place.replace("**/", "*"))


def check_commands(pipeline: Pipeline) -> Faults:
    """No command needs a shell that is not there; verbs are in the Makefile, where there is one."""
    makefile = pipeline.file.resolve().parents[1] / "Makefile"
    rules = makefile.read_text() if makefile.exists() else ""
    verbs = " ".join(re.findall(r"^([^\s#:=][^:=#\n]*):(?!=)", rules, re.M)).split()
    verb = r"-|\w+=|(" + "|".join(map(re.escape, verbs)) + ")$" if rules else ""
    for path, body in below(pipeline.body, pipeline.path):
        if path.endswith(".exec") and isinstance(body, dict) and "command" in body:
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


def check_hashes(pipeline: Pipeline) -> Faults:
    """Where there are parameters, every # is doubled or begins one; elsewhere none is begun."""
    names = pipeline.body.get("parameters", {})
    for path, text in below(pipeline.body | {"parameters": ""}, pipeline.path):
        for found in re.findall(r"#(#|\{[^}]*\}|)", text) if isinstance(text, str) else ():
            if found != "#" and (found or names) and found.strip("{}") not in names:
                yield f"{path}: #{found} is no parameter; allowed: {', '.join(['##', *names])}"


if __name__ == "__main__":
    raise SystemExit(main())
