"""Refuse answers that would make a broken repository, before any file of it is written."""

import keyword
import os
import re
import sys
from collections.abc import Iterator

# The repr of the answers is a Python literal, whatever they say.
ANSWERS = dict({{cookiecutter.items() | list}})

# Kubernetes allows 63 characters in a name and 52 in the name of a CronJob; images, GoCD pipelines
# and deployments add endings such as -staging, -notebook or a hash to the slug.
SLUG_LENGTH = 40
# Staging is a namespace of its own, with -staging added.
NAMESPACE_LENGTH = 63 - len("-staging")
# A whole image reference has at most 255: registry, slug, ending and tag.
REGISTRY_LENGTH = 128

# No file format keeps these as they are, however they are quoted.
UNWRITABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")

SLUG = "[a-z][a-z0-9]*(-[a-z0-9]+)*"
# No double underscore: in the template, name__option says which option a file belongs to.
PACKAGE = "[a-z][a-z0-9]*(_[a-z0-9]+)*"
LABEL = "[a-z0-9]([a-z0-9-]*[a-z0-9])?"
PORT = "(:[0-9]+)?"
IMAGE_FOLDER = r"/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*"
REGISTRY = rf"{LABEL}(\.{LABEL})*{PORT}({IMAGE_FOLDER})*"
WEB_ADDRESS = rf"https?://[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?{PORT}(/[A-Za-z0-9._~/-]*)?"
WEB_PAGES = ("repository_url", "grafana_url", "prometheus_url", "gocd_url")

TEMPLATE_DIR = {{template_dir() | quoted}}
# Names that stand, or are made, at the root of the repository.
FOLDERS = {
    "app", "build", "ci", "containers", "dags", "data", "deploy", "dist", "docs", "mlruns",
    "monitoring", "notebooks", "plugins", "requirements", "src", "test", "tests", "vendor",
}  # fmt: skip
PYTHON = {*keyword.kwlist, *keyword.softkwlist, *sys.stdlib_module_names}


def main() -> int:
    """Print one line for each fault; 1 when there is any."""
    found = [*faults(ANSWERS)]
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


def faults(answers: dict[str, str]) -> Iterator[str]:
    """Say of each unusable answer which it is, what was given and what is allowed."""
    for question, is_allowed, allowed in rules(answers):
        if not is_allowed:
            given = repr(answers[question])
            given = given if len(given) <= 60 else given[:57] + "..."
            yield f"{question}: {given} given; allowed: {allowed}"


def rules(answers: dict[str, str]) -> Iterator[tuple[str, bool, str]]:
    """Give every rule as its question, whether the answer keeps it, and what it allows."""

    def length(question: str, longest: int) -> bool:
        return bool(answers[question].strip()) and len(answers[question]) <= longest

    def form(question: str, pattern: str) -> bool:
        return bool(re.fullmatch(pattern, answers[question]))

    for question in ("project_name", "description", "owner_team", "contact"):
        writable = not UNWRITABLE.search(answers[question])
        yield question, writable, "no control characters or line separators"

    yield "project_name", length("project_name", 100), "1 to 100 characters, not blank"
    yield "description", len(answers["description"]) <= 300, "at most 300 characters"
    yield "owner_team", length("owner_team", 63), "1 to 63 characters, not blank"
    yield (
        "contact",
        length("contact", 200) and not re.search(r"\s", answers["contact"]),
        "1 to 200 characters without spaces: an e-mail address, a URL or a #channel",
    )
    yield (
        "project_slug",
        form("project_slug", SLUG) and length("project_slug", SLUG_LENGTH),
        f"1 to {SLUG_LENGTH} of a-z, 0-9 and single hyphens, a letter first, no - last",
    )
    yield (
        "package_name",
        form("package_name", PACKAGE) and length("package_name", SLUG_LENGTH),
        f"1 to {SLUG_LENGTH} of a-z, 0-9 and single underscores, a letter first, no _ last",
    )
    yield (
        "package_name",
        answers["package_name"] not in PYTHON | FOLDERS | installed(),
        "a name that is not yet Python's, a dependency's or a folder's of the repository",
    )
    yield (
        "container_registry",
        form("container_registry", REGISTRY)
        and length("container_registry", REGISTRY_LENGTH)
        and port_exists(answers["container_registry"]),
        f"host[:port][/folder] in lower case, no scheme or tag, at most {REGISTRY_LENGTH} long",
    )
    yield (
        "kubernetes_namespace",
        form("kubernetes_namespace", LABEL) and length("kubernetes_namespace", NAMESPACE_LENGTH),
        f"1 to {NAMESPACE_LENGTH} of a-z, 0-9 and hyphens, no hyphen first or last",
    )
    for question in ("mlflow_tracking_uri", *WEB_PAGES):
        yield (
            question,
            form(question, WEB_ADDRESS)
            and length(question, 200)
            and port_exists(answers[question]),
            "http:// or https://, host, perhaps port and path; no user, password or query",
        )
    for question in WEB_PAGES:
        yield question, not answers[question].endswith("/"), "no / at the end"


def installed() -> set[str]:
    """Read the names of the modules in the repository's environments; see fleet/modules.py."""
    path = os.path.join(TEMPLATE_DIR, "hooks", "modules.txt")
    with open(path, encoding="utf-8") as file:
        return set(file.read().split())


def port_exists(address: str) -> bool:
    """Say whether the port in an address, where there is one, is a port."""
    port = re.search(":([0-9]+)", address)
    return port is None or 0 < int(port[1]) < 65536


if __name__ == "__main__":
    raise SystemExit(main())
