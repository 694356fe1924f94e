"""Calls of kubectl: every one goes through here, none through a shell."""

import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from ..children import stop
from ..errors import UserError

SECONDS = 60  # for one call
LOGGED = re.compile("[IWEF][0-9]{4} ")  # what client-go logs of each of its attempts
FORWARDED = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) ->")


class KubectlError(UserError):
    """kubectl is not there, or the cluster said no."""


class Kubectl:
    """kubectl in one namespace."""

    def __init__(self, namespace: str, context: str = "") -> None:
        """Use a context of the kubeconfig; empty means its current one, or the pod's own."""
        beside = Path(sys.executable).with_name("kubectl")  # from the lock, for machines without
        self._program = shutil.which("kubectl") or str(beside)
        self._options = [f"--namespace={namespace}"]
        if context:
            self._options.append(f"--context={context}")

    def kustomize(self, folder: Path) -> list[dict]:
        """The objects of a kustomization."""
        return [*yaml.safe_load_all(self._run("kustomize", str(folder)))]

    def find(self, kind: str, name: str) -> dict | None:
        """An object of the cluster, None where there is none."""
        text = self._call("get", kind, name, "--output=json", "--ignore-not-found")
        return json.loads(text) if text.strip() else None

    def select(self, kind: str, **labels: str) -> list[dict]:
        """The objects of a kind that carry these labels."""
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        return json.loads(self._call("get", kind, f"--selector={selector}", "--output=json"))[
            "items"
        ]

    def apply(self, objects: list[dict]) -> None:
        """Make the objects, or change them to be so."""
        self._call(
            "apply",
            "--filename=-",
            given=json.dumps({"kind": "List", "apiVersion": "v1", "items": objects}),
        )

    def create(self, thing: dict) -> None:
        """Make an object; an error where there is one."""
        self._call("create", "--filename=-", given=json.dumps(thing))

    def replace(self, thing: dict) -> None:
        """Replace an object; an error where its resourceVersion is not that of the cluster."""
        self._call("replace", "--filename=-", given=json.dumps(thing))

    def delete(self, kind: str, name: str) -> None:
        """Remove an object, if it is there."""
        self._call("delete", kind, name, "--ignore-not-found")

    @contextmanager
    def forward(self, service: str, port: int) -> Iterator[str]:
        """Reach a service from this machine; yields its address here.

        Raises:
            KubectlError: the connection does not come about.
        """
        command = self._command("port-forward", f"service/{service}", f":{port}")
        try:
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
        except OSError as error:
            raise KubectlError(f"{self._program}: {error.strerror}") from error
        giving_up = threading.Timer(SECONDS, process.kill)
        giving_up.start()
        try:
            said = ""
            for line in process.stdout:
                said += line
                if found := FORWARDED.search(line):
                    giving_up.cancel()
                    yield f"http://127.0.0.1:{found[1]}"
                    return
            raise KubectlError(f"kubectl port-forward to {service}: {said.strip()}")
        finally:
            giving_up.cancel()
            stop(process)
            process.stdout.close()

    def _call(self, *arguments: str, given: str | None = None) -> str:
        return self._run(*self._options, *arguments, given=given)

    def _command(self, *arguments: str) -> list[str]:
        return [self._program, *self._options, *arguments]

    def _run(self, *arguments: str, given: str | None = None) -> str:
        try:
            done = subprocess.run(
                [self._program, *arguments],
                input=given,
                capture_output=True,
                text=True,
                timeout=SECONDS,
            )
        except OSError as error:
            raise KubectlError(f"{self._program}: {error.strerror}") from error
        except subprocess.TimeoutExpired as error:
            raise KubectlError(f"kubectl {arguments[-1]}: no answer in {SECONDS} s") from error
        if done.returncode:
            verb = next(word for word in arguments if not word.startswith("-"))
            said = [line for line in done.stderr.splitlines() if not LOGGED.match(line)]
            raise KubectlError(f"kubectl {verb}: {' '.join(said) or done.stderr.strip()}")
        return done.stdout
