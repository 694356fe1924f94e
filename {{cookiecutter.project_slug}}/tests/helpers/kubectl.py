"""A stand-in for kubectl and its cluster, with the part of Seldon's operator that a release sees.

It runs as a program on the PATH, keeps the cluster as a file in KUBECTL_STATE, and writes down
every call. Kept rules: resourceVersion guards a replacement, and changes with every write, those of
the operator's status too; the operator refuses what its webhook refuses, and makes one Deployment
for each predictor, which carries the predictor's labels.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

SELDON = "seldondeployments.machinelearning.seldon.io"
DEPLOYMENT = "deployments.apps"
KINDS = {"SeldonDeployment": SELDON, "Deployment": DEPLOYMENT}


class Cluster:
    """What the cluster holds, seen from a test."""

    def __init__(self, folder: Path) -> None:
        """Use a folder; an empty one is a new cluster."""
        self.folder = folder
        self._file = folder / "cluster.json"
        self._lock = folder / "lock"

    def install(self) -> dict[str, str]:
        """Make the program; returns the environment in which `kubectl` is this cluster's."""
        (self.folder / "bin").mkdir(parents=True)
        program = self.folder / "bin" / "kubectl"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -E -S "{__file__}" "$@"\n')
        program.chmod(0o755)
        beside = Path(sys.executable).with_name("kubectl")
        real = str(beside) if beside.exists() else shutil.which("kubectl")
        return {
            "PATH": f"{program.parent}:{os.environ['PATH']}",
            "KUBECTL_STATE": str(self.folder),
            "KUBECTL_REAL": real or "",
        }

    @contextlib.contextmanager
    def open(self) -> Iterator[dict]:
        """The whole content, to be changed; one at a time."""
        with self._lock.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            empty = {"objects": {}, "version": 0, "services": {}, "broken": [], "fault": None}
            content = json.loads(self._file.read_text()) if self._file.exists() else empty
            yield content
            self._file.write_text(json.dumps(content))

    def find(self, namespace: str, kind: str, name: str) -> dict | None:
        """An object."""
        with self.open() as content:
            return content["objects"].get(f"{namespace}/{kind}/{name}")

    def traffic(self, namespace: str, name: str) -> dict[str, int]:
        """Per cent of the requests by predictor."""
        found = self.find(namespace, SELDON, name)
        predictors = found["spec"]["predictors"] if found else []
        return {p["name"]: p["traffic"] for p in predictors if not p.get("shadow")}

    def serve(self, service: str, port: int) -> None:
        """Let a service be what listens on a port of this machine."""
        with self.open() as content:
            content["services"][service] = port

    def break_image(self, image: str) -> None:
        """Let no pod of an image start."""
        with self.open() as content:
            content["broken"].append(image)

    def fail(self, at: int, how: str) -> None:
        """Let the writing call number `at` (from 1, from now on) go wrong.

        `refuse`: the cluster does not answer; `die-before` and `die-after`: who calls is killed,
        before or after the write; `hang`: after the write there is no answer, see `hangs`.
        """
        with self.open() as content:
            content["fault"] = {"left": at, "how": how}

    @property
    def hangs(self) -> bool:
        """Whether a call hangs, or has hung."""
        return (self.folder / "hangs").exists()

    @property
    def calls(self) -> list[list[str]]:
        """The words of every call so far."""
        log = self.folder / "calls.log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    @property
    def writes(self) -> list[str]:
        """The verbs of the calls that wrote, in their order."""
        verbs = ("apply", "create", "replace", "delete")
        return [word for call in self.calls for word in call if word in verbs]


class RefusedError(Exception):
    """What the server says no with."""


def main(words: list[str]) -> int:
    """Do one call; returns the exit code."""
    cluster = Cluster(Path(os.environ["KUBECTL_STATE"]))
    with (cluster.folder / "calls.log").open("a") as log:
        log.write(json.dumps(words) + "\n")
    options = dict(w.removeprefix("--").partition("=")[::2] for w in words if w.startswith("--"))
    verb, *rest = [word for word in words if not word.startswith("--")]
    if verb == "kustomize":
        return _kustomize(cluster, rest[0])
    given = json.load(sys.stdin) if options.get("filename") == "-" else None
    try:
        with cluster.open() as content:
            how = _fault(content) if verb in ("apply", "create", "replace", "delete") else None
            if how == "refuse":
                raise RefusedError(
                    "(ServiceUnavailable): the server is currently unable to handle the request"
                )
            if how == "die-before":
                os.kill(os.getppid(), signal.SIGKILL)
                return 1
            said = _do(content, options.get("namespace", "default"), verb, rest, options, given)
        if how == "die-after":
            os.kill(os.getppid(), signal.SIGKILL)
            return 1
        if how == "hang":
            (cluster.folder / "hangs").touch()
            signal.pause()
    except RefusedError as error:
        print(f"Error from server {error}", file=sys.stderr)
        return 1
    print(said, end="", flush=True)
    if verb == "port-forward":
        signal.pause()
    return 0


class Pod:
    """A model server on this machine: KUBECTL_POD is a program that runs one.

    It is given the image, a port to serve at and one for the metrics.
    """

    def __init__(self, image: str) -> None:
        """Start it; it ends with this process."""
        ports = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        self.port, metrics = (taken.getsockname()[1] for taken in ports)
        for taken in ports:
            taken.close()
        command = [os.environ["KUBECTL_POD"], image, str(self.port), str(metrics)]
        process = subprocess.Popen(command, stdout=sys.stderr)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(process.terminate()))
        while process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)  # between two looks
        sys.exit(process.returncode)


def _image(content: dict, namespace: str, service: str) -> str:
    """The image behind the service of a predictor."""
    name, _, predictor = service.rpartition("-")
    found = content["objects"].get(f"{namespace}/{SELDON}/{name}", {"spec": {"predictors": []}})
    images = [
        p["componentSpecs"][0]["spec"]["containers"][0]["image"]
        for p in found["spec"]["predictors"]
        if p["name"] == predictor
    ]
    if not images:
        raise RefusedError(f'(NotFound): services "{service}" not found')
    return images[0]


def _fault(content: dict) -> str | None:
    fault = content["fault"]
    if not fault:
        return None
    fault["left"] -= 1
    if fault["left"]:
        return None
    content["fault"] = None
    return fault["how"]


def _do(
    content: dict, namespace: str, verb: str, rest: list[str], options: dict, given: dict | None
) -> str:
    if verb == "get" and "selector" in options:
        return json.dumps({"kind": "List", "items": _select(content, namespace, rest[0], options)})
    if verb == "get":
        found = content["objects"].get(f"{namespace}/{rest[0]}/{rest[1]}")
        if found and rest[0] == SELDON:
            _touch(content, found)  # the operator writes its status all the time
        return json.dumps(found) if found else ""
    if verb == "port-forward":
        service = rest[0].partition("/")[2]
        image = _image(content, namespace, service)
        port = content["services"].get(service) or Pod(image).port
        return f"Forwarding from 127.0.0.1:{port} -> {rest[1].lstrip(':')}\n"
    if verb == "delete":
        content["objects"].pop(f"{namespace}/{rest[0]}/{rest[1]}", None)
        _reconcile(content, namespace, rest[1], None)
        return ""
    things = given["items"] if given["kind"] == "List" else [given]
    for thing in things:
        _store(content, namespace, verb, thing)
    return ""


def _select(content: dict, namespace: str, kind: str, options: dict) -> list[dict]:
    wanted = dict(pair.split("=") for pair in options["selector"].split(","))
    return [
        found
        for key, found in content["objects"].items()
        if key.startswith(f"{namespace}/{kind}/")
        and wanted.items() <= found["metadata"].get("labels", {}).items()
    ]


def _store(content: dict, namespace: str, verb: str, thing: dict) -> None:
    name = thing["metadata"]["name"]
    kind = KINDS.get(thing["kind"], thing["kind"])
    stated = thing["metadata"].get("namespace", namespace)
    if stated != namespace:
        raise RefusedError(f"the namespace {stated} does not match {namespace}")
    key = f"{namespace}/{kind}/{name}"
    now = content["objects"].get(key)
    if verb == "create" and now:
        raise RefusedError(
            f'(AlreadyExists): error when creating "STDIN": {kind} "{name}" already exists'
        )
    if verb == "replace" and not now:
        raise RefusedError(f'(NotFound): error when replacing "STDIN": {kind} "{name}" not found')
    if verb == "replace" and (
        thing["metadata"].get("resourceVersion") != now["metadata"]["resourceVersion"]
    ):
        raise RefusedError(
            f'(Conflict): error when replacing "STDIN": Operation cannot be fulfilled on {kind} '
            f'"{name}": the object has been modified; please apply your changes to the latest '
            "version and try again"
        )
    if kind == SELDON:
        _admit(thing)
        _reconcile(content, namespace, name, thing)
    content["objects"][key] = thing
    _touch(content, thing)


def _touch(content: dict, thing: dict) -> None:
    content["version"] += 1
    thing["metadata"]["resourceVersion"] = str(content["version"])


def _admit(thing: dict) -> None:
    """The rules of the operator's admission webhook."""
    predictors = thing["spec"]["predictors"]
    live = [p for p in predictors if not p.get("shadow")]
    total = sum(p.get("traffic", 0) for p in live)
    faults = []
    if len({p["name"] for p in predictors}) != len(predictors):
        faults.append("Duplicate predictor name")
    if len(predictors) - len(live) > 1 or not live:
        faults.append("Multiple shadows are not allowed, nor a shadow alone")
    if len(live) > 1 and total != 100:
        faults.append(f"Traffic must sum to 100 for multiple predictors, is {total}")
    for predictor in predictors:
        containers = predictor["componentSpecs"][0]["spec"]["containers"]
        if predictor["graph"]["name"] not in [c["name"] for c in containers]:
            faults.append("Can't find component in containers")
    if faults:
        raise RefusedError(
            'admission webhook "v1.vseldondeployment.kb.io" denied the request: ' + faults[0]
        )


def _reconcile(content: dict, namespace: str, name: str, thing: dict | None) -> None:
    """Make the Deployments of the predictors, and remove those of predictors that are gone."""
    objects = content["objects"]
    for key in [key for key in objects if key.startswith(f"{namespace}/{DEPLOYMENT}/{name}-v")]:
        del objects[key]
    for predictor in thing["spec"]["predictors"] if thing else []:
        (container,) = predictor["componentSpecs"][0]["spec"]["containers"]
        ready = 0 if container["image"] in content["broken"] else 1
        full_name = f"{name}-{predictor['name']}-0-{container['name']}"
        objects[f"{namespace}/{DEPLOYMENT}/{full_name}"] = {
            "kind": "Deployment",
            "metadata": {
                "name": full_name,
                "generation": 1,
                "labels": {"seldon-deployment-id": name, **predictor.get("labels", {})},
            },
            "spec": {
                "replicas": 1,
                "template": {"spec": predictor["componentSpecs"][0]["spec"]},
            },
            "status": {
                "observedGeneration": 1,
                "updatedReplicas": ready,
                "availableReplicas": ready,
                "conditions": [
                    {
                        "type": "Progressing",
                        "status": str(bool(ready)),
                        "message": "" if ready else f"ErrImagePull: {container['image']}",
                    }
                ],
            },
        }


def _kustomize(cluster: Cluster, folder: str) -> int:
    """The real kubectl's work, done once for a folder."""
    kept = cluster.folder / (folder.strip("/").replace("/", "_") + ".yaml")
    if not kept.exists():
        done = subprocess.run(
            [os.environ["KUBECTL_REAL"], "kustomize", folder], capture_output=True, text=True
        )
        sys.stderr.write(done.stderr)
        if done.returncode:
            return done.returncode
        kept.write_text(done.stdout)
    sys.stdout.write(kept.read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
