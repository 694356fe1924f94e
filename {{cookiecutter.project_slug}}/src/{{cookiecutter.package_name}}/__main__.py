"""The commands of this repository; the Makefile's targets call them."""

import argparse
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from . import project, settings
from .errors import UserError

if TYPE_CHECKING:
    from .contract import Contract
    from .model_reference import ModelReference
    from .release.release import Release


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m " + __package__, description=project.NAME)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (function, text) in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(function=function)
        if name == "pipeline":
            command.add_argument("folder", type=Path, help="where to write the YAML files")
        if name == "image":
            kinds = ["train", "app", "notebook"]
            command.add_argument("kind", nargs="?", default="train", choices=kinds, help="for what")
        if name == "schedule":
            command.add_argument("cron", metavar="CRON", help="five fields of a crontab, or off")
        if name in ("train", "submit"):
            command.add_argument(
                "--judge-later", action="store_true", help="leave a rejection to the command gate"
            )
        if name == "new-data":
            command.add_argument("--target", default="", metavar="NAME", help="what is predicted")
            command.add_argument(
                "--keep", action="append", default=[], metavar="NAME",
                help="a column that is a feature, whatever it looks like; may be given again",
            )  # fmt: skip
            command.add_argument("--yes", action="store_true", help="write it without asking")
        if name == "monitor":
            command.add_argument("--fast", action="store_true", help="an hour in ten seconds")
        if name == "labels":
            command.add_argument("file", help="CSV or Parquet with puid, truth and perhaps row")
        if name in ("fetch", "batch"):
            command.add_argument("--alias", default="champion", help="which version")
        if name == "batch":
            command.add_argument("input", help="CSV or Parquet file, or the address of one")
            command.add_argument("output", help="CSV or Parquet file to write, or its address")
        if name in ("package", "deploy-staging", "canary", "promote", "rollback"):
            command.add_argument("--model", type=Path, help="model.json of the release")
        if name in ("deploy-staging", "canary", "promote", "rollback"):
            command.add_argument("--dry-run", action="store_true", help="show the first change")
    chosen = parser.parse_args(arguments)
    end_on_sigterm()
    try:
        return chosen.function(settings.load(), chosen) or 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def end_on_sigterm() -> None:
    """Let SIGTERM unwind this process, so that what it has started ends with it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def _new_data(env: settings.Settings, chosen: argparse.Namespace) -> int:
    from . import new_data

    new_data.run(env, chosen.target, chosen.keep, yes=chosen.yes)
    return 0


def _eject_example(env: settings.Settings, _: argparse.Namespace) -> int:
    from . import example

    example.eject()
    return 0


def _train(env: settings.Settings, chosen: argparse.Namespace) -> int:
    from .pipeline import local

    print(f"Training {project.SLUG}; runs are kept in {env.shown_tracking_uri}", flush=True)
    outcome = local.run()
    contract = outcome.contract
    print(f"\nBest candidate: {contract.provenance.candidate}\n{outcome.decision.table()}\n")
    print(f"MLflow run {contract.provenance.mlflow_run}, {outcome.seconds:.0f} s")
    return _judge(contract, chosen)


def _judge(contract: "Contract", chosen: argparse.Namespace) -> int:
    """Write model.json; a rejection is an error, where nobody else judges."""
    from .model_reference import ModelReference

    written = ModelReference.of(contract).write()
    if contract.decision.passed:
        print(f"Registered as version {contract.version}, @challenger. Next: make promote")
        return 0
    print("Rejected: nothing was registered.", file=sys.stderr)
    if chosen.judge_later:
        print(f"`make gate` reads the decision in {written}")
        return 0
    return 1


def _gate(env: settings.Settings, _: argparse.Namespace) -> int:
    from .model_reference import ModelReference

    model = ModelReference.read()
    print(f"{model.name}, MLflow run {model.mlflow_run}\n{model.decision.table()}")
    if not model.decision.passed:
        raise UserError("rejected: " + "; ".join(model.decision.reasons))
    print(f"version {model.version} is @challenger")
    return 0


def _pipeline(env: settings.Settings, chosen: argparse.Namespace) -> int:
    from .pipeline import batch, compiled, definition

    for name, pipeline in (("training", definition.training), ("batch", batch.scoring)):
        print(f"Compiled pipeline: {compiled.write(pipeline, chosen.folder / f'{name}.yaml')}")
    return 0


def _submit(env: settings.Settings, chosen: argparse.Namespace) -> int:
    from .pipeline import kubeflow

    contract = kubeflow.submit(env)
    if contract is None:
        # Who judges later needs model.json; a person has seen the run succeed.
        return 1 if chosen.judge_later else 0
    print(f"\nBest candidate: {contract.provenance.candidate}\n{contract.decision.table()}\n")
    print(f"MLflow run {contract.provenance.mlflow_run}")
    return _judge(contract, chosen)


def _upload(env: settings.Settings, _: argparse.Namespace) -> int:
    from .pipeline import kubeflow

    kubeflow.upload(env)
    return 0


def _schedule(env: settings.Settings, chosen: argparse.Namespace) -> int:
    from .pipeline import kubeflow

    kubeflow.schedule(env, chosen.cron)
    return 0


def _runs(env: settings.Settings, _: argparse.Namespace) -> int:
    from .pipeline import kubeflow

    kubeflow.runs(env)
    return 0


def _image(env: settings.Settings, chosen: argparse.Namespace) -> int:
    from .release import images

    tag = env.image if chosen.kind == "train" else env.image_of(chosen.kind)
    images.build(chosen.kind, tag, env)
    print(f"Pushed: {images.push(tag)}")
    return 0


def _package(env: settings.Settings, chosen: argparse.Namespace) -> int:
    from . import model_card, registry
    from .release import target

    model = _released_model(chosen)
    fields = model_card.unanswered()
    contract = registry.fetch_version(env, model.version, settings.ROOT / "build" / "model")
    if contract.sha256 != model.contract_sha256:
        raise UserError(
            f"version {model.version} in the registry is not the model that was judged: contract "
            f"{contract.sha256}, judged {model.contract_sha256}"
        )
    model = model.model_copy(update={"package": target.package(env, model)})
    registry.tag(env, model.version, package=model.package)
    print(f"Version {model.version} is packaged: {model.package}, told in {model.write()}")
    if fields:
        print(f"Not for production yet: docs/model-card.md has {len(fields)} open questions.")
    return 0


def _deploy_staging(env: settings.Settings, chosen: argparse.Namespace) -> int:
    return _release(env, chosen, "staging", lambda r: r.deploy(_released_model(chosen)))


def _canary(env: settings.Settings, chosen: argparse.Namespace) -> int:
    if not env.release_to:
        raise UserError("a canary changes what production serves: RELEASE_TO=production is needed")
    from . import model_card

    model_card.check()
    return _release(env, chosen, "production", lambda r: r.canary(_released_model(chosen)))


def _promote(env: settings.Settings, chosen: argparse.Namespace) -> int:
    if env.release_to:
        only = _released_model(chosen) if chosen.model else None
        return _release(env, chosen, env.release_to, lambda r: r.promote(only))
    from . import registry

    version, former = registry.promote(env)
    was = f"version {former} is @previous" if former else "the first release"
    print(f"{registry.NAME} version {version} is @champion; {was}")
    return 0


def _rollback(env: settings.Settings, chosen: argparse.Namespace) -> int:
    if env.release_to:
        only = _released_model(chosen) if chosen.model else None
        return _release(env, chosen, env.release_to, lambda r: r.rollback(only))
    from . import registry

    version, withdrawn = registry.rollback(env)
    print(f"{registry.NAME} version {version} is @champion again; {withdrawn} was withdrawn")
    return 0


def _released(env: settings.Settings, chosen: argparse.Namespace) -> int:
    from . import registry
    from .release.target import Target

    for environment in ("staging", "production"):
        target = Target(env, environment, 0)
        print(f"{target.name}: {target.read() or 'nothing is served'}")
    for alias in (registry.CHALLENGER, registry.CHAMPION, registry.PREVIOUS):
        found = registry.version(env, alias)
        print(f"@{alias}: {f'version {found.version}' if found else 'none'}")
    return 0


def _release(
    env: settings.Settings,
    chosen: argparse.Namespace,
    environment: Literal["staging", "production"],
    verb: Callable[["Release"], None],
) -> int:
    from .release.plan import Plan
    from .release.release import DryRunError, Release
    from .release.target import Target

    plan = Plan.read()
    target = Target(env, environment, plan.ready_minutes * 60)
    try:
        verb(Release(env, target, plan, dry_run=chosen.dry_run))
    except DryRunError:
        print("Nothing was changed.")
    return 0


def _released_model(chosen: argparse.Namespace) -> "ModelReference":
    from .model_reference import ModelReference

    model = ModelReference.read(chosen.model)
    if not model.version:
        raise UserError("the gate rejected this model: it is not released")
    return model


def _fetch(env: settings.Settings, chosen: argparse.Namespace) -> int:
    from . import registry

    contract = registry.fetch(env, chosen.alias, env.model_dir)
    print(f"{contract.name} version {contract.version} (@{chosen.alias}) is in {env.model_dir}")
    return 0


def _model_card(env: settings.Settings, _: argparse.Namespace) -> int:
    from . import model_card
    from .contract import Contract

    contract = Contract.read(env.model_dir)
    print(f"Written: {model_card.fill(contract)}, with the facts of version {contract.version}")
    for field in model_card.unanswered():
        print(f"  to answer: {field}")
    return 0


def _serve(env: settings.Settings, _: argparse.Namespace) -> int:
    from .serving import environment

    environment.prepare()
    from .serving import server

    return server.run(env)


def _predict(env: settings.Settings, _: argparse.Namespace) -> int:
    from . import client
    from .contract import Contract

    contract = Contract.read(env.model_dir)
    request = client.example(contract)
    print(f"POST {env.server_url}{client.PREDICT}\n{json.dumps(request)}\n")
    print(json.dumps(client.predict(env.server_url, request), indent=2))
    return 0


def _batch(env: settings.Settings, chosen: argparse.Namespace) -> int:
    from . import batch

    print(batch.run(env, chosen.input, chosen.output, chosen.alias))
    return 0


def _labels(env: settings.Settings, chosen: argparse.Namespace) -> int:
    from . import labels

    print(labels.post(env, chosen.file))
    return 0


def _tools(env: settings.Settings, _: argparse.Namespace) -> int:
    from .monitoring import tools

    tools.provide()
    return 0


def _receive(env: settings.Settings, _: argparse.Namespace) -> int:
    from .monitoring import retrain

    retrain.run(retrain.load())
    return 0


def _manifests(env: settings.Settings, _: argparse.Namespace) -> int:
    from .monitoring import manifests

    print(f"Written: {manifests.write()}")
    return 0


def _monitor(env: settings.Settings, chosen: argparse.Namespace) -> int:
    from .monitoring import stack

    return stack.watch(env, fast=chosen.fast)


def _loop(env: settings.Settings, _: argparse.Namespace) -> int:
    from .monitoring import loop

    return loop.run(env)


def _demo(env: settings.Settings, _: argparse.Namespace) -> int:
    from . import demo

    return demo.run(env)


COMMANDS = {
    "new-data": (_new_data, "propose data.py, model.py and the data card for the table DATA_URI"),
    "eject-example": (_eject_example, "remove the example, and say what comes next"),
    "train": (_train, "run the training pipeline on this machine"),
    "gate": (_gate, "say what the gate decided; an error where it rejected the candidate"),
    "pipeline": (_pipeline, "compile the pipelines to YAML"),
    "submit": (_submit, "run the training pipeline on Kubeflow, and wait for it"),
    "upload": (_upload, "upload the pipelines to Kubeflow as versions of this commit"),
    "schedule": (_schedule, "let Kubeflow train by itself, with this commit"),
    "runs": (_runs, "show the last runs on Kubeflow, and the schedule"),
    "image": (_image, "build and push an image: of the steps, of the demo, of notebooks"),
    "package": (_package, "package the model of model.json for its target"),
    "deploy-staging": (_deploy_staging, "serve the packaged model in staging, and ask it"),
    "canary": (_canary, "give the packaged model more and more of production's requests"),
    "promote": (_promote, "make the challenger the champion"),
    "rollback": (_rollback, "take a release back, or make the previous version the champion again"),
    "released": (_released, "show what is served where, and the aliases"),
    "fetch": (_fetch, "download a model from the registry into MODEL_DIR"),
    "model-card": (_model_card, "write the facts of the model in MODEL_DIR into the model card"),
    "serve": (_serve, "serve the model in MODEL_DIR (in the serving environment)"),
    "predict": (_predict, "send the server an example"),
    "batch": (_batch, "score a file with the registry's model, or with the server at MODEL_URL"),
    "labels": (_labels, "post labels that came late to the server"),
    "tools": (_tools, "download Prometheus and Alertmanager where they are not installed"),
    "receive": (_receive, "start trainings that alerts ask for (in the serving environment)"),
    "manifests": (_manifests, "write the alert rules for Kubernetes, after a change of them"),
    "monitor": (_monitor, "watch the model with Prometheus and Alertmanager on this machine"),
    "loop": (_loop, "drift, alert, training, recovery: the story once, in a minute"),
    "demo": (_demo, "train, promote, serve and predict once, and show where to look"),
}

if __name__ == "__main__":
    sys.exit(main())
