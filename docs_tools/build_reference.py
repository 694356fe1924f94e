"""Write docs/reference.md from the sources: `make reference`.

Nothing of a rendered repository is run or imported: it is parsed.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import yaml

import python_source
from python_source import Setting

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference.md"
LIBRARY = ROOT / "runtime" / "src" / "modelloop"
sys.path.insert(0, str(ROOT / "fleet"))

from owners import owner  # noqa: E402 it is in fleet/

# One render for each value of a question that adds something; what it lacks, the others have.
VARIANTS = {
    "default": {},
    "regression": {"problem_type": "regression"},
    "azureml": {"release_target": "azureml"},
    "airflow": {"airflow_dag": "yes"},
}
OTHERWISE = {"regression": "classification", "azureml": "seldon", "airflow": "no airflow"}
HEAD = """# Reference

`make reference` wrote this page from the sources; do not edit it. Names and addresses are those of
the default answers, so `penguins` stands for the name of a model. *only* says which answer brings
a row.
"""

Renders = dict[str, Path]
Row = tuple[str, ...]


def main() -> int:
    """Write the page."""
    with tempfile.TemporaryDirectory() as folder:
        PAGE.write_text(page(rendered(Path(folder))), encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)} is written")
    return 0


def rendered(folder: Path) -> Renders:
    """Render the variants into a folder."""
    answers = {"_commit": "reference", "_template": ""}  # with a _commit no repository is made
    asked = [
        json.dumps({"answers": {**given, **answers}, "out": str(folder / name)})
        for name, given in VARIANTS.items()
    ]
    done = subprocess.run(
        [sys.executable, ROOT / "fleet" / "render.py", ROOT],
        input="\n".join(asked) + "\n",
        capture_output=True,
        text=True,
        check=True,
    )
    replies = [json.loads(line) for line in done.stdout.splitlines()]
    return {name: Path(reply["folder"]) for name, reply in zip(VARIANTS, replies, strict=True)}


def page(renders: Renders) -> str:
    """Put the page together."""
    sections = (
        HEAD,
        "## Questions\n",
        "What `cookiecutter` asks, in this order.\n",
        table(("question", "asks", "default", "allowed"), questions()),
        "## Verbs of a model repository\n",
        marked(("`make`", "does"), renders, verbs),
        "Variables of these verbs, given as `make <verb> <NAME>=<value>` or in the environment:\n",
        marked(("variable", "default"), renders, make_variables),
        "## Verbs of the template\n",
        table(("`make`", "does"), verbs(ROOT)),
        table(("variable", "default"), make_variables(ROOT)),
        "## Environment variables\n",
        "Read by the commands of a model repository and by its server. An empty variable is an "
        "unset one; a secret is in the file that a variable names, never in it. Paths are relative "
        "to the repository.\n",
        environment(LIBRARY / "settings.py"),
        "Read by the retraining receiver:\n",
        environment(LIBRARY / "retrain" / "receiver.py"),
        "Read by releases to Azure ML (`release_target=azureml`):\n",
        environment(LIBRARY / "release" / "azureml" / "endpoint.py"),
        "Read by the DAGs (`dags/penguins.py`, `airflow_dag=yes`):\n",
        table(
            ("variable", "default", "says"),
            dag_variables(renders["airflow"]),
        ),
        "## Settings in files\n",
        "`monitoring/retraining.toml`, what alerts may start:\n",
        marked(("key", "default", "says"), renders, toml("monitoring/retraining.toml")),
        "`deploy/release.toml`, how a version takes over:\n",
        marked(("key", "default", "says"), renders, toml("deploy/release.toml")),
        "`deploy/endpoint.toml`, the endpoints of Azure ML (`release_target=azureml`):\n",
        table(("key", "default", "says"), toml("deploy/endpoint.toml")(renders["azureml"])),
        "## Pipelines\n",
        "What `make pipeline` compiles and `make upload` uploads.\n",
        table(
            ("pipeline", "parameter", "default", "says"),
            pipelines(renders["default"]),
        ),
        "## Metrics\n",
        "The server's, at `/metrics` of `METRICS_PORT`; all have the labels `model_name` and "
        "`model_version`.\n",
        table(
            ("metric", "kind", "further labels", "says", "only"),
            metrics(LIBRARY / "serving"),
        ),
        "The retraining receiver's, at `/metrics` of `RETRAIN_PORT`:\n",
        table(
            ("metric", "kind", "labels", "says"),
            (row[:4] for row in metrics(LIBRARY / "retrain")),
        ),
        "## Recording rules\n",
        "`monitoring/recording.rules.yaml`\n",
        marked(("rule", "reads", "group"), renders, recording_rules),
        "## Alerts\n",
        "`monitoring/alerts.rules.yaml`. *page* is for now, *ticket* for office hours; "
        "*after* is how long the condition must have held. The runbook of an alert is "
        "its heading in `docs/runbooks.md`.\n",
        marked(("alert", "severity", "after", "starts a training", "says"), renders, alerts),
        "## Files and their owners\n",
        "By `fleet/owners.toml`. What the owners mean is in "
        "[own the layout](own-the-layout.md#owners).\n",
        table(("files", "owner"), files(renders)),
    )
    return "\n".join(sections)


def table(head: Row, rows: Iterable[Row]) -> str:
    """Write a table; the first column is code, which commas part."""
    lines = [head, ("---",) * len(head)]
    for first, *rest in rows:
        lines.append((", ".join(map(code, first.split(", "))), *rest))
    cells = (" | ".join(cell.replace("|", "\\|") for cell in line) for line in lines)
    return "\n".join(re.sub(" {2,}", " ", f"| {line} |") for line in cells) + "\n"


def code(text: str) -> str:
    """Write a text as code, nothing as nothing."""
    return f"`{text}`" if text else ""


def marked(head: Row, renders: Renders, rows_of: Callable[[Path], Iterable[Row]]) -> str:
    """Write a table of what the variants have, saying of a row which answer it takes."""
    has = {name: [*rows_of(folder)] for name, folder in renders.items()}
    rows: list[Row] = []
    for found in has.values():
        place = 0  # a row that only this variant has stands behind the one that is before it there
        for row in found:
            if row not in rows:
                rows.insert(place, row)
            place = rows.index(row) + 1
    only = [mark({name for name, found in has.items() if row in found}) for row in rows]
    if not any(only):
        return table(head, rows)
    return table((*head, "only"), [(*row, answer) for row, answer in zip(rows, only, strict=True)])


def mark(has: set[str]) -> str:
    """Say which answer brings what these variants have."""
    if "default" not in has:
        return ", ".join(name for name in VARIANTS if name in has)
    return ", ".join(OTHERWISE[name] for name in VARIANTS if name not in has)


def questions() -> Iterator[Row]:
    """Give the questions: prompt, default and what the hook allows."""
    asked = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
    hook = (ROOT / "hooks" / "pre_gen_project.py").read_text(encoding="utf-8")
    rules: dict[str, object] = {"__name__": "hook"}
    exec(
        hook.replace("dict({{cookiecutter.items() | list}})", "{}").replace(
            "{{template_dir() | quoted}}", repr(str(ROOT))
        ),
        rules,
    )
    public = {name: value for name, value in asked.items() if not name.startswith("_")}
    texts = {name: value if isinstance(value, str) else "" for name, value in public.items()}
    limits = defaultdict(list)
    for name, _, text in rules["rules"](texts):
        limits[name].append(text)
    for name, value in public.items():
        prompt = asked["__prompts__"][name]
        if isinstance(value, list):
            labels = {choice: prompt[choice] for choice in value}
            says = "; ".join(f"`{choice}`: {label}" for choice, label in labels.items())
            yield name, prompt["__prompt__"], code(value[0]), says
        elif isinstance(value, bool):
            yield name, prompt, code("yes" if value else "no"), "`yes`, `no`"
        else:
            yield name, prompt, code(default(value)), "; ".join(limits[name])


def default(value: str) -> str:
    """Write a default that is made from other answers as a person would."""
    return re.sub(r"\{\{ *cookiecutter\.(\w+)(?:\|[^}]*)? *\}\}", r"<\1>", value)


def verbs(folder: Path) -> Iterator[Row]:
    """Give the verbs that `make help` lists in a folder."""
    text = (folder / "Makefile").read_text(encoding="utf-8")
    yield from re.findall(r"^([a-z-]+):.*?## (.*)$", text, re.MULTILINE)


def make_variables(folder: Path) -> Iterator[Row]:
    """Give the variables of a Makefile that may be given."""
    text = (folder / "Makefile").read_text(encoding="utf-8")
    for name, value in re.findall(r"^(?:export )?([A-Z_]+) \?= (.*)$", text, re.MULTILINE):
        computed = value.startswith("$(shell")
        yield name, "" if computed else code(value.replace("$(CURDIR)/", ""))


def environment(module: Path) -> str:
    """Write the table of the settings of a module.

    Raises:
        ValueError: A variable has no comment that says what it is for.
    """
    rows = []
    for setting in (s for found in python_source.settings(module).values() for s in found):
        if not setting.comment:
            raise ValueError(
                f"{module.name}: {setting.name} has no comment that says what it is for"
            )
        rows.append(cells(setting))
    return table(("variable", "default", "allowed", "says"), rows)


def cells(setting: Setting) -> Row:
    """Write a setting as a row."""
    return setting.name, given(setting.default), setting.allowed, setting.comment


def given(value: str | None) -> str:
    """Write a default, or that there is none."""
    return "needed" if value is None else code(value)


def package(folder: Path) -> Path:
    """Find the package of a render."""
    (found,) = (path.parent for path in folder.glob("src/*/pipeline.py"))
    return found


def dag_variables(folder: Path) -> Iterator[Row]:
    """Give what the DAGs read from the environment."""
    for path in sorted(folder.glob("dags/*.py")):
        for variable in python_source.variables(path):
            yield variable.name, given(variable.default), variable.comment


def toml(name: str) -> Callable[[Path], Iterator[Row]]:
    """Give the keys of a TOML file with their comments; a section stands before its keys."""

    def rows(folder: Path) -> Iterator[Row]:
        section = ""
        path = folder / name
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            if head := re.match(r"\[([\w.]+)\](?: # (.+))?", line):
                section = f"{head[1]}."
                if head[2]:
                    yield f"[{head[1]}]", "", head[2]
            elif key := re.match(r"(?:# )?(\w+) = (.+?)(?: # (.+))?$", line):
                default = "" if line.startswith("#") else code(key[2])
                yield section + key[1], default, key[3] or ""

    return rows


def pipelines(folder: Path) -> Iterator[Row]:
    """Give the parameters of the pipelines."""
    for name, parameters in python_source.pipelines(package(folder) / "pipeline.py"):
        for parameter in parameters:
            yield name, code(parameter.name), given(parameter.default), parameter.text


def metrics(folder: Path) -> Iterator[Row]:
    """Give the metrics that a folder of the library declares."""
    for path in sorted(folder.glob("*.py")):
        for metric in python_source.metrics(path):
            labels = ", ".join(map(code, metric.labels))
            yield metric.name, metric.kind, labels, metric.text, metric.only


def rules(folder: Path, name: str) -> Iterator[tuple[str, dict]]:
    """Give the rules of a file, with their groups."""
    text = (folder / "monitoring" / name).read_text(encoding="utf-8")
    for group in yaml.load(text, Loader=yaml.CSafeLoader)["spec"]["groups"]:
        for rule in group["rules"]:
            yield group["name"], rule


def recording_rules(folder: Path) -> Iterator[Row]:
    """Give the recording rules, and the series that they read."""
    for group, rule in rules(folder, "recording.rules.yaml"):
        without_texts = re.sub(r'"[^"]*"|\{[^}]*\}', "", rule["expr"])
        words = re.findall(r"\b(?:model|process|retrain)[_:][\w:]+", without_texts)
        labels = {"model_name", "model_version"}
        reads = dict.fromkeys(word for word in words if word not in labels)
        yield rule["record"], ", ".join(map(code, reads)), group.partition("-")[2]


def alerts(folder: Path) -> Iterator[Row]:
    """Give the alerts.

    Raises:
        ValueError: An alert has no runbook of its name.
    """
    for _, rule in rules(folder, "alerts.rules.yaml"):
        name, labels, notes = rule["alert"], rule["labels"], rule["annotations"]
        page = (folder / "docs" / "runbooks.md").read_text(encoding="utf-8")
        if not notes["runbook_url"].endswith(f"#{name.lower()}") or f"\n## {name}\n" not in page:
            raise ValueError(
                f"{name}: docs/runbooks.md has no heading of it, or no link leads there"
            )
        says = re.sub(r"\{\{ \$labels\.(\w+) \}\}", r"*\1*", notes["summary"])
        training = "yes" if labels.get("action") == "retrain" else ""
        yield name, labels["severity"], rule.get("for", ""), training, says


def files(renders: Renders) -> Iterator[Row]:
    """Give the files of all variants with their owners; a folder of one owner is one row."""
    owned: dict[str, str] = {}
    for folder in renders.values():
        for path in folder.rglob("*"):
            name = path.relative_to(folder).as_posix()
            if path.is_file():
                owned[name] = owner(name) or "team"
    yield from rows_below("", owned)


def rows_below(folder: str, owned: dict[str, str]) -> Iterator[Row]:
    """Give the rows of a folder, whose name ends with a slash; most of its files are one row."""
    below = sorted(name for name in owned if name.startswith(folder))
    heads = dict.fromkeys(re.match("[^/]+/?", name.removeprefix(folder))[0] for name in below)
    alone: dict[str, list[str]] = defaultdict(list)
    for head in heads:
        kinds = {owned[name] for name in below if name.startswith(folder + head)}
        if not head.endswith("/"):
            alone[owned[folder + head]].append(folder + head)
        elif len(kinds) == 1:
            yield f"{folder}{head}**", kinds.pop()
        else:
            yield from rows_below(folder + head, owned)
    *few, most = sorted(alone.items(), key=lambda kind: (len(kind[1]), kind)) or [("", [])]
    for kind, names in few:
        yield ", ".join(names), kind
    kind, names = most
    if few and len(names) > 4:
        yield f"{folder}*", f"{kind}, the others"
    elif names:
        yield ", ".join(names), kind


if __name__ == "__main__":
    raise SystemExit(main())
