"""The training pipeline. Read it as the table of contents of this repository."""

from kfp import dsl

from .. import model, project
from . import cluster
from . import components as c


@dsl.pipeline(name=f"{project.SLUG}-training", description="From raw data to a registered model")
def training(candidates: list[str] = list(model.CANDIDATES)):  # noqa: B006 read by the compiler
    """Ingest, validate, prepare, train the candidates, evaluate, gate, register.

    Args:
        candidates: which of model.CANDIDATES compete.
    """
    key = dsl.PIPELINE_JOB_ID_PLACEHOLDER  # the same in every step, on the laptop and the cluster
    end = c.close(key=key)
    with dsl.ExitHandler(end, name="tracked"):
        ingested = c.ingest(key=key).set_caching_options(False)
        run = ingested.outputs["run"]
        validated = c.validate(raw=ingested.outputs["raw"], run=run)
        prepared = c.prepare(valid=validated.outputs["valid"], run=run)
        rows = {name: prepared.outputs[name] for name in ("train_rows", "test_rows")}
        with dsl.ParallelFor(
            candidates, name="candidates", parallelism=cluster.PARALLELISM
        ) as candidate:
            trained = c.train(candidate=candidate, run=run, **rows)
        evaluated = c.evaluate(
            models=dsl.Collected(trained.outputs["model"]), run=run, key=key, **rows
        ).set_caching_options(False)
        judged = c.gate(evaluated=evaluated.outputs["evaluated"], run=run)
        judged.set_caching_options(False)
        with dsl.If(judged.outputs["Output"] == "pass", name="passed"):
            registered = c.register(decided=judged.outputs["decided"], run=run)
            registered.set_caching_options(False)
    tasks = (ingested, validated, prepared, trained, evaluated, judged, registered, end)
    for task in tasks:
        cluster.configure(task)
