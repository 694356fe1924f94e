"""Let a GoCD server check whether it would accept these pipeline files; it changes nothing."""

import sys
from collections.abc import Sequence
from pathlib import Path

import requests

from modelloop.errors import UserError
from modelloop.settings import Environment

PATH = "/go/api/admin/config_repo_ops/preflight"
PLUGIN = {"pluginId": "yaml.config.plugin"}
# GoCD compares the whole header; another one would be a 404.
ACCEPT = "application/vnd.go.cd.v1+json"
SECONDS = 60


class Server(Environment):
    """Where GoCD is, and the access token of one of its administrators."""

    gocd_url: str
    gocd_token_file: Path


def run(files: Sequence[Path]) -> int:
    """Send the files; returns the exit code, 1 with the server's reasons where it refuses.

    Raises:
        UserError: a variable is not set, a file cannot be read, or the server does not respond.
    """
    server = Server.read()
    try:
        faults = preflight(server.gocd_url, server.gocd_token_file, files)
    except (OSError, ValueError) as error:  # requests' errors are OSErrors
        raise UserError(str(error)) from error
    for fault in faults:
        print(fault, file=sys.stderr)
    if not faults:
        print(f"GoCD takes {', '.join(map(str, files))}")
    return 1 if faults else 0


def preflight(url: str, token_file: Path, files: Sequence[Path]) -> list[str]:
    """Send the files to a server; returns its faults, none where it accepts the files.

    Raises:
        OSError: a file cannot be read, or the server does not respond.
        ValueError: the response is not that of a preflight check.
    """
    response = requests.post(
        url.rstrip("/") + PATH,
        params=PLUGIN,
        headers={
            "Authorization": f"bearer {token_file.read_text(encoding='utf-8').strip()}",
            "Accept": ACCEPT,
        },
        files=[("files[]", (file.name, file.read_bytes())) for file in files],
        timeout=SECONDS,
    )
    if response.status_code != 200:
        raise ValueError(
            f"GoCD at {url} answers {response.status_code}: {response.text.strip()[:500]}"
        )
    body = response.json()
    return [] if body["valid"] else body["errors"] or ["the server gives no reason"]
