"""Verbs of a release: package, staging, canary, promote, roll back."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelloop.cli.common import with_project
from modelloop.errors import UserError
from modelloop.project import Project

if TYPE_CHECKING:
    from modelloop.registry.model_reference import ModelReference
    from modelloop.release.images import Kind
    from modelloop.release.release import Release
    from modelloop.release.target import Stage

model_file = click.option(
    "--model",
    type=click.Path(path_type=Path),
    help="model.json of the release; by default build/model.json.",
)
dry_run = click.option("--dry-run", is_flag=True, help="Show the first change, and make none.")


@click.command()
@click.argument("kind", type=click.Choice(["train", "app", "notebook"]), default="train")
@with_project
def image(project: Project, kind: "Kind") -> None:
    """Build and push an image: of the pipeline's steps, of the demo, of notebooks."""
    from modelloop.release import images

    tag = project.image if kind == "train" else project.image_of(kind)
    images.build(project, kind, tag)
    print(f"Pushed: {images.push(project, tag)}")


@click.command()
@model_file
@with_project
def package(project: Project, model: Path | None) -> None:
    """Package the model of model.json for its target."""
    from modelloop.contract import model_card
    from modelloop.registry import versions
    from modelloop.release import target

    wanted = _released(project, model)
    fields = model_card.unanswered(project)
    contract = versions.fetch_version(project, wanted.version, project.build / "model")
    if contract.sha256 != wanted.contract_sha256:
        raise UserError(
            f"version {wanted.version} in the registry is not the model that was judged: contract "
            f"{contract.sha256}, judged {wanted.contract_sha256}"
        )
    packaged = wanted.model_copy(update={"package": target.package(project, wanted)})
    versions.tag(project, packaged.version, package=packaged.package)
    written = packaged.write(project)
    print(f"Version {packaged.version} is packaged: {packaged.package}, as {written} says")
    if fields:
        print(f"Not for production yet: {model_card.NAME} has {len(fields)} open questions.")


@click.command()
@model_file
@dry_run
@with_project
def deploy_staging(project: Project, model: Path | None, dry_run: bool) -> None:
    """Serve the packaged model in staging, and send it its golden rows."""
    _release(
        project,
        "staging",
        lambda release: release.deploy(_released(project, model)),
        dry_run=dry_run,
    )


@click.command()
@model_file
@dry_run
@with_project
def canary(project: Project, model: Path | None, dry_run: bool) -> None:
    """Give the packaged model more and more of production's requests."""
    from modelloop.contract import model_card

    if not project.settings.release_to:
        raise UserError("a canary changes what production serves: RELEASE_TO=production is needed")
    model_card.check(project)
    _release(
        project,
        "production",
        lambda release: release.canary(_released(project, model)),
        dry_run=dry_run,
    )


@click.command()
@model_file
@dry_run
@with_project
def promote(project: Project, model: Path | None, dry_run: bool) -> None:
    """Make the challenger the champion; RELEASE_TO=production: in production, too."""
    from modelloop.registry import versions

    if project.settings.release_to:
        only = _released(project, model) if model else None
        _release(project, "production", lambda release: release.promote(only), dry_run=dry_run)
        return
    version, former = versions.promote(project)
    was = f"version {former} is @previous" if former else "the first release"
    print(f"{project.slug} version {version} is @champion; {was}")


@click.command()
@model_file
@dry_run
@with_project
def rollback(project: Project, model: Path | None, dry_run: bool) -> None:
    """Take a release back, or make the previous version the champion again."""
    from modelloop.registry import versions

    if project.settings.release_to:
        only = _released(project, model) if model else None
        _release(project, "production", lambda release: release.rollback(only), dry_run=dry_run)
        return
    version, withdrawn = versions.rollback(project)
    print(f"{project.slug} version {version} is @champion again; {withdrawn} was withdrawn")


@click.command()
@with_project
def released(project: Project) -> None:
    """Show what is served in staging and production, and the aliases."""
    from modelloop.registry import versions
    from modelloop.release import target

    stages: tuple[Stage, ...] = ("staging", "production")
    for stage in stages:
        served = target.connect(project, stage, 0)
        print(f"{served.name}: {served.read() or 'nothing is served'}")
    for alias in (versions.CHALLENGER, versions.CHAMPION, versions.PREVIOUS):
        found = versions.version(project, alias)
        print(f"@{alias}: {f'version {found.version}' if found else 'none'}")


@click.command(hidden=True)
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("sha256", default="")
@with_project
def prove(project: Project, folder: Path, sha256: str) -> None:
    """Check the model in FOLDER with its golden rows; the build of an image runs it."""
    from modelloop.release.prove import prove as prove_model

    proven = prove_model(project, folder, sha256)
    print(f"{proven.name} version {proven.version or 'none'} answers its golden rows")


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def lint(files: tuple[Path, ...]) -> None:
    """Look for mistakes in FILES, pipelines of GoCD, that GoCD passes over."""
    from modelloop.gocd import lint as linting

    sys.exit(linting.run(files))


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def gocd_preflight(files: tuple[Path, ...]) -> None:
    """Let the GoCD server check FILES (GOCD_URL, GOCD_TOKEN_FILE)."""
    from modelloop.gocd import preflight

    sys.exit(preflight.run(files))


def _release(
    project: Project, stage: "Stage", verb: Callable[["Release"], None], *, dry_run: bool
) -> None:
    from modelloop.release import plan, target
    from modelloop.release.release import DryRunError, Release

    wanted = plan.Plan.read(plan.path_of(project))
    served = target.connect(project, stage, wanted.ready_minutes * 60)
    try:
        verb(Release(project, served, wanted, dry_run=dry_run))
    except DryRunError:
        print("Nothing was changed.")


def _released(project: Project, file: Path | None) -> "ModelReference":
    from modelloop.registry.model_reference import ModelReference

    model = ModelReference.read(project, file)
    if not model.version:
        raise UserError("the gate rejected this model: it is not released")
    return model


VERBS = (
    image,
    package,
    deploy_staging,
    canary,
    promote,
    rollback,
    released,
    prove,
    lint,
    gocd_preflight,
)
