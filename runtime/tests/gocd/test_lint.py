"""A mistake that GoCD would accept silently is one line of the lint; a right file has none."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from jsonschema import Draft202012Validator

from modelloop import Project
from modelloop.cli import main
from modelloop.gocd import lint as gocd_lint
from modelloop.gocd import shape

MAKEFILE = """\
.PHONY: test train
DATA := data:all
test train: setup ## both
	@echo $@
image canary:
rollback::
setup: ;
"""
RIGHT = """\
format_version: 10
common:
  mlflow: &mlflow {MLFLOW_TRACKING_URI: "http://mlflow:5000", MODEL: churn}
pipelines:
  churn-train:
    group: models
    label_template: "${COUNT}-${code[:8]}"
    lock_behavior: unlockWhenFinished
    display_order: 10
    timer: {spec: "0 0 3 ? * MON", only_on_changes: false}
    tracking_tool: {link: "https://tickets/${ID}", regex: "T-(\\\\d+)"}
    environment_variables: {RETRAIN_REASON: ""}
    materials: {code: {git: "ssh://git/churn", branch: main}}
    stages:
      - test:
          clean_workspace: yes
          jobs:
            unit: {timeout: 60, tasks: [exec: {command: make, arguments: [test, "NAME=a:b"]}]}
      - train:
          environment_variables:
            MODEL: churn2
            <<: *mlflow
            API_TOKEN: "{{SECRET:[mlops][token]}}"
          jobs:
            fit:
              elastic_profile_id: big
              artifacts:
                - build: {source: build/model.json, destination: model}
                - build: {source: build/plots/**/*.png, destination: plots}
                - external: {id: image, store_id: registry}
              tasks:
                - exec:
                    command: make
                    arguments: [train]
                    on_cancel: {exec: {command: make, arguments: [rollback]}}
  churn-deploy:
    label_template: "${train}-${env:MODEL}"
    parameters: {space: models}
    materials:
      code: {git: "ssh://git/churn", destination: code}
      charts: {git: "ssh://git/charts", destination: charts}
      train: {pipeline: churn-train, stage: train}
    stages:
      - image:
          jobs:
            build:
              artifacts: [build: {source: image.txt}]
              tasks:
                - fetch: {pipeline: churn-train, stage: train, job: fit, source: model/model.json}
                - fetch: {pipeline: churn-train, stage: train, job: fit, source: plots/roc.png}
                - exec: {command: bash, arguments: [-ec, "make image | tee x && echo ## $MODEL"]}
      - canary:
          approval: {type: manual, allow_only_on_success: true, roles: [release]}
          jobs:
            seldon:
              tasks:
                - fetch: {stage: image, job: build, source: image.txt, is_file: true}
                - - exec: {command: make, arguments: [canary, "SPACE=#{space}"]}
                  - exec: {run_if: failed, command: make, arguments: [rollback]}
  # more
environments:
  production: {pipelines: [churn-deploy], environment_variables: {CLUSTER: one}}
"""
SHORT = {
    "@train": "pipelines.churn-train",
    "@deploy": "pipelines.churn-deploy",
    "@unit": "pipelines.churn-train.stages.0.test.jobs.unit",
    "@exec": "pipelines.churn-train.stages.0.test.jobs.unit.tasks.0.exec",
    "@env": "pipelines.churn-train.stages.1.train.environment_variables",
    "@fit": "pipelines.churn-train.stages.1.train.jobs.fit",
    "@build": "pipelines.churn-deploy.stages.0.image.jobs.build",
    "@canary": "pipelines.churn-deploy.stages.1.canary",
    "@seldon": "pipelines.churn-deploy.stages.1.canary.jobs.seldon",
    "@fetch": "pipelines.churn-deploy.stages.1.canary.jobs.seldon.tasks.0.fetch",
    "@call": "pipelines.churn-deploy.stages.1.canary.jobs.seldon.tasks.1.0",
    "@roc": "pipelines.churn-deploy.stages.0.image.jobs.build.tasks.1.fetch",
    "@stage": "pipelines.bare.stages.0",
    "@git": "{code: {git: url}}",
    "@bare": "bare: {materials: {code: {git: url}}, stages: ",
    "@jobs": "{jobs: {job: {tasks: [exec: {command: make}]}}}",
    "@late": "{jobs: {a: {tasks: [fetch: {pipeline: bare, stage: s, job: j, source: c}]}}}",
    "@up": "{pipeline: bare, stage: s}",
    "@long": "x" * 256,
}
# A text that is in RIGHT once => what replaces it | the path of the fault | a part of its message
MISTAKES = r"""
lock_behavior: => \tlock_behavior: | cannot be read | cannot start
common: => ---\ncommon: | cannot be read | single document
display_order: 10 => group: other | cannot be read | duplicate key group
MODEL: churn2\n            <<: *mlflow => <<: *mlflow\n            MODEL: churn2 | cannot be read
  | duplicate key MODEL
<<: *mlflow => <<: mlflow | cannot be read | maps only
&mlflow {MLFLOW => &mlflow {CIRCLE: *mlflow, MLFLOW | cannot be read | recursive
"{{SECRET:[mlops][token]}}" => {{SECRET: mlops}} | cannot be read | quote
format_version: 10\n => # none\n | has no format_version; one is required | required
format_version: 10 => format_version: 9 | format_version | 10 or 11
common: => anchors: | anchors | unknown
{pipelines: => {pipeline: | environments.production.pipeline | did you mean pipelines?
display_order: => display_ordr: | @train.display_ordr | did you mean display_order?
lock_behavior: unlockWhenFinished => locking: true | @train.locking | lock_behavior
unlockWhenFinished => unlockOnFailure | @train.lock_behavior | lockOnFailure
churn-deploy:\n => churn deploy:\n | pipelines.churn deploy | letters
churn-deploy:\n => .churn:\n | pipelines..churn | not first
churn-deploy:\n => @long:\n | pipelines.@long | 255
# more => @bare[one: @jobs, ONE: @jobs]} | pipelines.bare.stages.1.ONE | unique
# more => bare: {template: common} | pipelines.bare | has no materials
# more => bare: {materials: {code: {git: url}}} | pipelines.bare | has no stages or template
display_order: 10 => template: common | @train | stages and template together
# more => bare: {materials: {code: {git: url}}, stages: []} | pipelines.bare.stages | not empty
"0 0 3 ? * MON" => "0 3 ? * MON" | @train.timer.spec | 6 or 7 fields
"0 0 3 ? * MON" => "0 0 3 * * MON" | @train.timer.spec | day of the week
only_on_changes: false => only_on_changes: never | @train.timer.only_on_changes | true or false
, regex: "T-(\\d+)" => | @train.tracking_tool | has no regex
${train} => ${trian} | @deploy.label_template | env:NAME
${COUNT} => $COUNT | @train.label_template | COUNT
{git: "ssh://git/churn", branch: main} => {branch: main} | @train.materials.code
  | has no git or hg
train: {pipeline => train: {git: url, pipeline | @deploy.materials.train | git and pipeline together
branch: => brnch: | @train.materials.code.brnch | did you mean branch?
branch: main => ignore: [docs], includes: [src] | @train.materials.code | ignore and includes
branch: main => password: hunter2 | @train.materials.code.password | SECRET
branch: main => password: [hunter2] | @train.materials.code.password | the value is the wrong kind
branch: main => encrypted_password: x | @train.materials.code.encrypted_password | one server
charts: {git => the charts: {git | @deploy.materials.the charts | letters
, destination: charts => | @deploy.materials.charts | destination of its own
destination: charts => destination: ./code | @deploy.materials.charts | destination of its own
# more => bare: {materials: {up: {pipeline: gone, stage: x}}, template: t}
  | pipelines.bare.materials.up.pipeline | no given file
stage: train}\n => stage: fit}\n | @deploy.materials.train.stage | test, train
clean_workspace => clean_worksapce | @train.stages.0.test.clean_worksapce | clean_workspace?
# more => @bare[one: {tasks: [exec: {command: make}]}]} | @stage.one.tasks | under a job
# more => @bare[{one: @jobs, two: @jobs}]} | @stage | only the first
type: manual => type: by-hand | @canary.approval.type | auto or success or manual
, roles: [release] => | @canary.approval | roles or users
{type: manual, allow_only_on_success: true, roles: [release]} => manual | @canary.approval
  | roles or users
type: manual => type: success | @canary.approval.allow_only_on_success | not allowed here
elastic_profile_id: big => artefacts: [] | @fit.artefacts | did you mean artifacts?
timeout: 60 => timeout: 1h | @unit.timeout | an integer
timeout: 60 => resources: [a], elastic_profile_id: b | @unit | resources and elastic_profile_id
# more => @bare[one: {jobs: {job: {timeout: 5}}}]} | @stage.one.jobs.job | has no tasks
build: {source: image.txt} => {build: {source: a}, to: b} | @build.artifacts.0 | only the first
external: {id: => extern: {id: | @fit.artifacts.2.extern | did you mean external?
source: build/model => source: /build/model | @fit.artifacts.0.build.source | below
{source: image.txt} => {source: ../image.txt} | @build.artifacts.0.build.source | without ..
, store_id: registry => | @fit.artifacts.2.external | has no store_id
run_if: failed => run_if: always | @seldon.tasks.1.1.exec.run_if | passed or failed
exec: {run_if: failed, => run_if: failed\n                    exec: { | @seldon.tasks.1.1
  | only the first
exec: {run_if: failed, command => script: {command | @seldon.tasks.1.1.script | verb of the Makefile
on_cancel: {exec: { => on_cancel: {exec: {run_if: any, | @fit.tasks.0.exec.on_cancel.exec.run_if
  | unknown
make, arguments: [test, => make test, arguments: [test, | @exec.command | one word
make, arguments: [test, => "make\x0A", arguments: [test, | @exec.command | one word
[train] => train | @fit.tasks.0.exec.arguments | a list
"SPACE=#{space}" => "" | @call.exec.arguments.1 | unquoted #
"NAME=a:b" => NAME=$HOME | @exec.arguments.1 | needs a shell
"make image | tee x && echo ## $MODEL" => make, image | @build.tasks.2.exec.arguments | exactly one
[train] => [trian] | @fit.tasks.0.exec.arguments.0 | not in the Makefile
[rollback]}} => [DATA]}} | @fit.tasks.0.exec.on_cancel.exec.arguments.0 | not in the Makefile
#{space} => a#b | @call.exec.arguments.1 | ##, space
#{space} => #{spice} | @call.exec.arguments.1 | ##, space
NAME=a:b => NAME=#{name} | @exec.arguments.1 | no parameter
source: image.txt, is_file: true => is_file: true | @fetch | source or artifact_id
{stage: image, job: build => {stage: imag, job: build | @fetch.stage | allowed: image
{stage: image, job: build => {stage: canary, job: seldon | @fetch.stage | done by then
{stage: image, job: build => {stage: image, job: bild | @fetch.job | allowed: build
{stage: image, job: build => {pipeline: x, stage: image, job: build | @fetch.pipeline | no material
source: model/model.json => source: model.json | @build.tasks.0.fetch.source | model/model.json
source: plots/roc.png => source: plots/roc.svg | @roc.source | plots/**
source: plots/roc.png => source: plots/*.png | @roc.source | without .., * and ?
plots/roc.png => plots/a.png, artifact_origin: external | @roc.artifact_origin | with artifact_id
source: plots/roc.png => artifact_id: chart, artifact_origin: external | @roc.artifact_id | image
API_TOKEN: => API-TOKEN: | @env.API-TOKEN | letters
RETRAIN_REASON => GO_REASON | @train.environment_variables.GO_REASON | GO_
"{{SECRET:[mlops][token]}}" => "Bearer {{SECRET:[mlops][token]}}" | @env.API_TOKEN | nothing but
MODEL: churn2 => MODEL: "{{SECRETS:[mlops][model]}}" | @env.MODEL | nothing but
"{{SECRET:[mlops][token]}}" => hunter2 | @env.API_TOKEN | the value is not right
MODEL: churn2 => MODEL: null | @env.MODEL | a text
environment_variables: {RETRAIN => secure_variables: {RETRAIN | @train.secure_variables | one server
"NAME=a:b" => "{{SECRET:[mlops][name]}}" | @exec.arguments.1 | no secret
"""
ALSO_RIGHT = r"""
# more => # nothing more
"${COUNT}-${code[:8]}" => "1.2.${COUNT}"
code: {git: "ssh://git/churn", branch: main} => code: {type: configrepo}
branch: main => username: me, password: "{{SECRET:[git][password]}}"
"{{SECRET:[mlops][token]}}" => ""
{type: manual, allow_only_on_success: true, roles: [release]} => auto
source: plots/roc.png => source: plots
source: plots/roc.png => source: plots/by/hour.png
source: plots/roc.png => artifact_id: image, artifact_origin: external
source: plots/roc.png => source: cruise-output/console.log
{source: image.txt} => {source: ./image.txt}
arguments: [train] => arguments: [test, train, rollback, setup, --silent]
[-ec, "make image | tee x && echo ## $MODEL"] => [run.sh, -x, "##"]
"0 0 3 ? * MON" => "0 0/15 3 1 * ? 2030"
# more => @bare[[one: @jobs, two: @jobs], [three: @jobs]]}
# more => bare: {materials: {up: {pipeline: churn-deploy, stage: canary}}, stages: [
  one: {jobs: {job: {tasks: [fetch: {pipeline: churn-train/churn-deploy, stage: test, job: unit,
  source: cruise-output/console.log}]}}}]}
# more => bare: {materials: @git, template: t}\n  b: {materials: {up: @up}, stages: [a: @late]}
"""


def changes(table: str) -> list[list[str]]:
    """Read a table: a text that is in RIGHT once, what replaces it, and the fault."""
    for short, long in SHORT.items():
        table = table.replace(short, long)
    rows = re.sub(r"\n  (?=\S)", " ", table).strip().split("\n")
    rows = [row.replace(r"\n", "\n").replace(r"\t", "\t") for row in rows]
    pattern = re.compile(r"(.+) =>(.*?)((?: \| [^|]+ \| [^|]+)?)", re.DOTALL)
    return [pattern.fullmatch(row).groups() for row in rows]


def changed(right: str, wrong: str) -> str:
    assert RIGHT.count(right) == 1, right
    return RIGHT.replace(right, wrong[1:])


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "Makefile").write_text(MAKEFILE)
    (tmp_path / "ci").mkdir()
    return tmp_path / "ci"


def lint(folder: Path, *texts: str) -> tuple[int, list[str]]:
    files = [folder / f"{number}.gocd.yaml" for number in range(len(texts))]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text)
    pipelines, faults = gocd_lint.lint(files)
    return pipelines, [fault.removeprefix(f"{folder}/") for fault in faults]


def test_a_repositorys_own_files_are_right(either: Project):
    files = sorted((either.root / "ci").glob("*.gocd.yaml"))
    assert gocd_lint.lint(files) == (2, [])


def test_the_schema_is_one():
    Draft202012Validator.check_schema(json.loads(shape.SCHEMA.read_text()))


@pytest.mark.parametrize(("right", "wrong", "fault"), changes(MISTAKES))
def test_a_mistake_is_one_fault_in_its_place(folder, right, wrong, fault):
    (found,) = lint(folder, changed(right, wrong))[1]
    path, words = fault.removeprefix(" | ").split(" | ")
    assert found.split(": ")[:2] == ["0.gocd.yaml", path]
    assert words in found


@pytest.mark.parametrize(("right", "other", "_"), changes(ALSO_RIGHT))
def test_what_gocd_does_right_is_no_fault(folder, right, other, _):
    assert lint(folder, changed(right, other))[1] == []


def test_a_name_in_two_files_is_refused(folder):
    more = RIGHT.split("  churn-deploy:")[0].replace("churn-train", "CHURN-train")
    pipelines, faults = lint(folder, RIGHT, more)
    assert pipelines == 3
    assert [fault.partition("; ")[0] for fault in faults] == [
        "1.gocd.yaml: pipelines.CHURN-train: is there already"
    ]


def test_files_of_two_versions_are_refused(folder):
    other = "format_version: 11\nenvironments: {staging: {agents: [a]}}\n"
    assert lint(folder, RIGHT, other)[1] == [
        "1.gocd.yaml: format_version: is not 10; all files need the same"
    ]


def test_pipelines_may_depend_on_another_file(folder):
    train, deploy = RIGHT.split("  churn-deploy:")
    deploy = f"format_version: 10\npipelines:\n  churn-deploy:{deploy}"
    assert lint(folder, train, deploy) == (2, [])
    assert "in no given file" in lint(folder, deploy)[1][0]


def test_verbs_are_not_looked_for_without_a_makefile(folder):
    (folder.parent / "Makefile").unlink()
    assert lint(folder, RIGHT.replace("[train]", "[trian]"))[1] == []


def run(*files: Path) -> Result:
    """`modelloop lint`, as a person calls it."""
    return CliRunner().invoke(main, ["lint", *map(str, files)])


def test_the_command_line_counts_or_lists_and_exits(folder):
    lint(folder, RIGHT, RIGHT.replace("format_version", "version"))
    right, wrong = folder / "0.gocd.yaml", folder / "1.gocd.yaml"
    done = run(right)
    assert (done.exit_code, done.stdout) == (0, "2 pipelines in 1 files: no faults\n")
    done = run(right, wrong)
    assert done.exit_code == 1
    assert done.stdout.startswith(f"{wrong}: version: is not allowed here")
    assert run().exit_code == 2


@pytest.mark.parametrize("content", [None, b"", b"# nothing", b"\xff", b"- a", b"a: ["])
def test_a_file_that_holds_no_pipelines_is_one_line(folder, content):
    if content is not None:
        (folder / "x.gocd.yaml").write_bytes(content)
    done = run(folder / "x.gocd.yaml")
    assert (done.exit_code, done.stderr) == (1, "")
    (fault,) = done.stdout.splitlines()
    assert fault.startswith(f"{folder / 'x.gocd.yaml'}: ")
