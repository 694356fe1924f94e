"""Every call of kubectl, as a subprocess without a shell."""

import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from modelloop.errors import UserError
from modelloop.subprocesses import stop

SECONDS = 60  # for one call
LOGGED = re.compile("[IWEF][0-9]{4} ")  # how client-go's log lines begin, one for each attempt
FORWARDED = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) ->")


class KubectlError(UserError):
    """kubectl is not installed, or the cluster refused the call."""


class Kubectl:
    """kubectl in one namespace of a cluster.

    Every method raises KubectlError when its call fails, or takes longer than SECONDS.
    """

    def __init__(self, namespace: str, context: str = "") -> None:
        """Use a context of the kubeconfig; empty means its current one, or the pod's own."""
        locked = Path(sys.executable).with_name("kubectl")  # installed with this environment
        self._program = shutil.which("kubectl") or str(locked)
        self._options = [f"--namespace={namespace}"]
        if context:
            self._options.append(f"--context={context}")

    def kustomize(self, folder: Path) -> list[dict[str, Any]]:
        """The objects of a kustomization, built without a cluster."""
        return [*yaml.safe_load_all(self._run("kustomize", str(folder)))]

    def find(self, kind: str, name: str) -> dict[str, Any] | None:
        """An object of the cluster; None where there is none."""
        text = self._call("get", kind, name, "--output=json", "--ignore-not-found")
        return dict(json.loads(text)) if text.strip() else None

    def select(self, kind: str, **labels: str) -> list[dict[str, Any]]:
        """The objects of a kind that carry these labels."""
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        text = self._call("get", kind, f"--selector={selector}", "--output=json")
        return [*json.loads(text)["items"]]

    def apply(self, objects: list[dict[str, Any]]) -> None:
        """Create the objects, or update those that exist."""
        self._call(
            "apply",
            "--filename=-",
            given=json.dumps({"kind": "List", "apiVersion": "v1", "items": objects}),
        )

    def create(self, thing: dict[str, Any]) -> None:
        """Create an object; an error where it exists."""
        self._call("create", "--filename=-", given=json.dumps(thing))

    def replace(self, thing: dict[str, Any]) -> None:
        """Replace an object; an error where its resourceVersion is not the cluster's."""
        self._call("replace", "--filename=-", given=json.dumps(thing))

    def delete(self, kind: str, name: str) -> None:
        """Remove an object, if it exists."""
        self._call("delete", kind, name, "--ignore-not-found")

    @contextmanager
    def forward(self, service: str, port: int) -> Iterator[str]:
        """Forward a free port of 127.0.0.1 to a service until the block ends.

        Yields:
            The URL of the service on this machine.

        Raises:
            KubectlError: the connection cannot be made.
        """
        command = [self._program, *self._options, "port-forward", f"service/{service}", f":{port}"]
        try:
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
        except OSError as error:
            raise KubectlError(f"{self._program}: {error.strerror}") from error
        timeout = threading.Timer(SECONDS, process.kill)
        timeout.start()
        with process:
            try:
                output = ""
                for line in process.stdout or ():
                    output += line
                    if found := FORWARDED.search(line):
                        timeout.cancel()
                        yield f"http://127.0.0.1:{found[1]}"
                        return
                raise KubectlError(f"kubectl port-forward to {service}: {output.strip()}")
            finally:
                timeout.cancel()
                stop(process)

    def _call(self, *arguments: str, given: str | None = None) -> str:
        return self._run(*self._options, *arguments, given=given)

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
            lines = [line for line in done.stderr.splitlines() if not LOGGED.match(line)]
            raise KubectlError(f"kubectl {verb}: {' '.join(lines) or done.stderr.strip()}")
        return done.stdout
