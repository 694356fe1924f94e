"""A stand-in for kubectl and its cluster, with the part of Seldon's operator that a release uses.

It runs as a program on the PATH, keeps the cluster in a file in the folder KUBECTL_STATE, and logs
every call. Rules of Kubernetes and of Seldon that it follows: a replacement needs the current
resourceVersion, which changes with every write, also when the operator writes its status; the
operator's webhook refuses wrong SeldonDeployments; the operator makes one Deployment for each
predictor, with the predictor's labels.
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
from typing import Any

SELDON = "seldondeployments.machinelearning.seldon.io"
DEPLOYMENT = "deployments.apps"
KINDS = {"SeldonDeployment": SELDON, "Deployment": DEPLOYMENT}
WRITES = ("apply", "create", "replace", "delete")

Object = dict[str, Any]  # of Kubernetes
Content = dict[str, Any]  # of the file: objects by key, version, services, broken, fault


class Cluster:
    """The cluster, as a test sets it up and looks at it."""

    def __init__(self, folder: Path) -> None:
        """Use a folder for all files; an empty one is a new cluster."""
        self.folder = folder
        self._file = folder / "cluster.json"
        self._lock = folder / "lock"

    def install(self) -> dict[str, str]:
        """Write the program.

        Returns:
            The environment variables with which `kubectl` reaches this cluster.
        """
        (self.folder / "bin").mkdir(parents=True)
        program = self.folder / "bin" / "kubectl"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -E -S "{__file__}" "$@"\n')
        program.chmod(0o755)
        locked = Path(sys.executable).with_name("kubectl")
        real = str(locked) if locked.exists() else shutil.which("kubectl")
        return {
            "PATH": f"{program.parent}:{os.environ['PATH']}",
            "KUBECTL_STATE": str(self.folder),
            "KUBECTL_REAL": real or "",
        }

    @contextlib.contextmanager
    def open(self) -> Iterator[Content]:
        """Lock the cluster's content; what the block changes is written at its end."""
        with self._lock.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            content: Content = {
                "objects": {},
                "version": 0,
                "services": {},
                "broken": [],
                "fault": None,
            }
            if self._file.exists():
                content = json.loads(self._file.read_text())
            yield content
            self._file.write_text(json.dumps(content))

    def find(self, namespace: str, kind: str, name: str) -> Object | None:
        """An object; None where there is none."""
        with self.open() as content:
            found: Object | None = content["objects"].get(f"{namespace}/{kind}/{name}")
            return found

    def traffic(self, namespace: str, name: str) -> dict[str, int]:
        """Per cent of the requests by predictor of a SeldonDeployment, without shadows."""
        found = self.find(namespace, SELDON, name)
        predictors = found["spec"]["predictors"] if found else []
        return {p["name"]: p["traffic"] for p in predictors if not p.get("shadow")}

    def serve(self, service: str, port: int) -> None:
        """Forward a service to a port of this machine."""
        with self.open() as content:
            content["services"][service] = port

    def break_image(self, image: str) -> None:
        """From now on no pod of an image starts."""
        with self.open() as content:
            content["broken"].append(image)

    def fail(self, at: int, how: str) -> None:
        """Let one writing call fail.

        Args:
            at: which one, counted from 1, from now on.
            how: `refuse`: the API server refuses it. `die-before`, `die-after`: the calling process
                is killed before or after the write. `hang`: the call writes and never returns.
        """
        with self.open() as content:
            content["fault"] = {"left": at, "how": how}

    @property
    def hangs(self) -> bool:
        """Whether a call hangs, or has hung until it was killed."""
        return (self.folder / "hangs").exists()

    @property
    def calls(self) -> list[list[str]]:
        """The arguments of every call so far."""
        log = self.folder / "calls.log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    @property
    def writes(self) -> list[str]:
        """The verbs of the writing calls, in order."""
        return [word for call in self.calls for word in call if word in WRITES]


class RefusedError(Exception):
    """The API server refuses a call; the message is kubectl's."""


def main(words: list[str]) -> int:
    """Run one call of kubectl; returns the exit code."""
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
            how = _fault(content) if verb in WRITES else None
            if how == "die-before":
                os.kill(os.getppid(), signal.SIGKILL)
                return 1
            if how != "refuse":
                namespace = options.get("namespace", "default")
                output = _do(content, namespace, verb, rest, options, given)
        if how == "refuse":  # after the block, so that the fault counts as done
            raise RefusedError(
                "(ServiceUnavailable): the server is currently unable to handle the request"
            )
        if how == "die-after":
            os.kill(os.getppid(), signal.SIGKILL)
            return 1
        if how == "hang":
            (cluster.folder / "hangs").touch()
            signal.pause()
    except RefusedError as error:
        print(f"Error from server {error}", file=sys.stderr)
        return 1
    print(output, end="", flush=True)
    if verb == "port-forward":
        signal.pause()
    return 0


class Pod:
    """A model server on this machine, run by the program KUBECTL_POD.

    The program's arguments are the image, the port of predictions and the port of metrics.
    """

    def __init__(self, image: str) -> None:
        """Start it and wait until it listens; SIGTERM ends it with this process."""
        ports = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        self.port, metrics = (taken.getsockname()[1] for taken in ports)
        for taken in ports:
            taken.close()
        command = [os.environ["KUBECTL_POD"], image, str(self.port), str(metrics)]
        process = subprocess.Popen(command, stdout=sys.stderr)

        def end(*_: object) -> None:
            process.terminate()
            sys.exit()

        signal.signal(signal.SIGTERM, end)
        while process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)  # between two attempts
        sys.exit(process.returncode)


def _image(content: Content, namespace: str, service: str) -> str:
    """The image of the predictor that a service belongs to."""
    name, _, predictor = service.rpartition("-")
    found = content["objects"].get(f"{namespace}/{SELDON}/{name}", {"spec": {"predictors": []}})
    images: list[str] = [
        p["componentSpecs"][0]["spec"]["containers"][0]["image"]
        for p in found["spec"]["predictors"]
        if p["name"] == predictor
    ]
    if not images:
        raise RefusedError(f'(NotFound): services "{service}" not found')
    return images[0]


def _fault(content: Content) -> str | None:
    fault: dict[str, Any] | None = content["fault"]
    if not fault:
        return None
    fault["left"] -= 1
    if fault["left"]:
        return None
    content["fault"] = None
    return str(fault["how"])


def _do(
    content: Content,
    namespace: str,
    verb: str,
    rest: list[str],
    options: dict[str, str],
    given: Object | None,
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
    if given is None:
        raise RefusedError(f"(BadRequest): {verb} needs objects")
    things = given["items"] if given["kind"] == "List" else [given]
    for thing in things:
        _store(content, namespace, verb, thing)
    return ""


def _select(content: Content, namespace: str, kind: str, options: dict[str, str]) -> list[Object]:
    wanted = dict(pair.split("=") for pair in options["selector"].split(","))
    return [
        found
        for key, found in content["objects"].items()
        if key.startswith(f"{namespace}/{kind}/")
        and wanted.items() <= found["metadata"].get("labels", {}).items()
    ]


def _store(content: Content, namespace: str, verb: str, thing: Object) -> None:
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


def _touch(content: Content, thing: Object) -> None:
    """Give an object a new resourceVersion."""
    content["version"] += 1
    thing["metadata"]["resourceVersion"] = str(content["version"])


def _admit(thing: Object) -> None:
    """Refuse a SeldonDeployment as the operator's admission webhook does."""
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


def _reconcile(content: Content, namespace: str, name: str, thing: Object | None) -> None:
    """Make the Deployments of the predictors, and remove those of earlier predictors."""
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
    """Print what the real kubectl builds; it runs once for a folder."""
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
