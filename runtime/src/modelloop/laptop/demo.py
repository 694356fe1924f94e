"""The whole loop once: train, judge, register, promote, serve, predict; then where to look."""

import json
import sys

from modelloop import subprocesses
from modelloop.errors import UserError
from modelloop.kubeflow import local
from modelloop.laptop import model_server
from modelloop.project import Project
from modelloop.registry import versions
from modelloop.serving import client


def run(project: Project) -> None:
    """Run the loop, leave nothing running, print a summary.

    Raises:
        UserError: a step failed, or the gate rejected the best candidate.
    """
    env = project.settings
    _say(f"1/5 train: the Kubeflow pipeline on this machine, data {env.shown_data_uri}")
    outcome = local.run(project)
    _say(f"2/5 gate: candidate {outcome.contract.provenance.candidate}")
    print(outcome.decision.table())
    if not outcome.decision.passed:
        raise UserError("the gate rejected the best candidate, so there is nothing to serve")

    _say("3/5 promote: @challenger becomes @champion")
    version, former = versions.promote(project)
    contract = versions.fetch(project, versions.CHAMPION, env.model_dir)
    print(f"  version {version}, {f'before it version {former}' if former else 'first release'}")

    _say("4/5 serve: the Seldon server in its own environment")
    port, metrics_port = subprocesses.free_ports(2)
    url = f"http://127.0.0.1:{port}"
    with model_server.running(project, port, metrics_port):
        print(f"  ready at {url}")
        _say("5/5 predict: an example over REST")
        request = client.example(contract)
        answer = client.predict(url, request)
    print(f"  sent     {json.dumps(request['data']['ndarray'][0])}")
    print(f"  answered {json.dumps(answer['data'])}")
    _summary(project, outcome, version, answer)


def _summary(project: Project, outcome: local.Outcome, version: str, answer: dict) -> None:
    env, contract = project.settings, outcome.contract
    store = env.mlflow_tracking_uri and project.shown_tracking_uri
    metrics = ", ".join(f"{name} {value:.4g}" for name, value in contract.metrics.items())
    prediction = answer["meta"]["tags"].get("prediction", answer["data"]["ndarray"][0])
    rows = [
        ("model", f"{contract.name} version {version}, @champion"),
        ("candidate", contract.provenance.candidate),
        ("test rows", metrics),
        ("gate", f"pass, {len(outcome.decision.checks)} checks"),
        ("served as", f"{contract.served.form}, {contract.served.reason}"),
        ("prediction", json.dumps(prediction)),
        ("MLflow run", f"{contract.provenance.mlflow_run}, {store or 'make mlflow'}"),
        ("contract", f"{env.model_dir / 'contract.json'}"),
        ("next", "make serve, then make predict; edit data.py and model.py, then make train"),
    ]
    _say(f"{project.name}: the loop is closed")
    for name, value in rows:
        print(f"  {name:<12} {value}")
    sys.stdout.flush()


def _say(text: str) -> None:
    print(f"\n{text}", flush=True)
