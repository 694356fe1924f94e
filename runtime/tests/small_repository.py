"""Repositories whose data.py and model.py are small, so that a proposal takes no time."""

import os
import shutil
import subprocess
from pathlib import Path

from modelloop import Project

DATA = '''"""The data."""

import pandas as pd
import pandera.pandas as pa
from modelloop import read_table

SCHEMA = pa.DataFrameSchema({"kind": pa.Column(str), "size": pa.Column(float)})
DUPLICATES = 0.01


def load(uri: str, query: str = "") -> pd.DataFrame:
    """Load the table."""
    return read_table(uri, query)
'''
MODEL = '''"""The model."""

from modelloop import Gate, by_content
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier

TARGET = "kind"
CATEGORIES: list[str] = []
NUMBERS = ["size"]
FEATURES = CATEGORIES + NUMBERS

TEST_SHARE = 0.25
SPLIT = by_content()
WEIGHT = None
SEED = 7
GATE = Gate(metric="accuracy", floor=0.9, margin=0.1, latency_ms=50.0)


def tree() -> Pipeline:
    """A small tree."""
    columns = ColumnTransformer(
        [
            ("numbers", SimpleImputer(strategy="median"), NUMBERS),
            ("categories", OneHotEncoder(handle_unknown="ignore"), CATEGORIES),
        ]
    )
    return make_pipeline(columns, DecisionTreeClassifier(max_depth=5, random_state=SEED))


CANDIDATES = {"tree": tree}
'''


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder that has a .git of its own, apart from the settings of this machine."""
    settings = ("user.name=test", "user.email=test@example.com", "commit.gpgsign=false",
                f"core.hooksPath={os.devnull}", "core.quotePath=off")  # fmt: skip
    options = [part for setting in settings for part in ("-c", setting)]
    command = ["git", "--git-dir=.git", *options, *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def changed(project: Project) -> set[str]:
    """The files that are not as they were committed."""
    lines = git(project.root, "status", "--porcelain", "-uall").splitlines()
    return {line[3:].strip('"') for line in lines}


def make(of: Project, root: Path) -> Project:
    """One of the same problem type, with DATA, MODEL and the example's table, committed."""
    package = f"orders_{of.problem_type}"
    answers = (of.root / "pyproject.toml").read_text(encoding="utf-8")
    named = f'package = "{of.package}"'
    assert named in answers
    own, model = root / "src" / package, MODEL
    own.mkdir(parents=True)
    (root / "pyproject.toml").write_text(answers.replace(named, f'package = "{package}"'))
    if of.problem_type == "regression":
        model = model.replace("Classifier", "Regressor").replace("accuracy", "rmse")
    (own / "data.py").write_text(DATA)
    (own / "model.py").write_text(model)
    shutil.copy(of.source("__init__"), own)
    shutil.copy(of.root / ".gitignore", root)
    shutil.copytree(of.root / "data", root / "data")
    git(root, "init", "--quiet")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message=first")
    git(root, "tag", "first")
    return Project.at(root)


def restore(project: Project) -> None:
    """Put it back to its first commit."""
    git(project.root, "reset", "--quiet", "--hard", "first")
    git(project.root, "clean", "--quiet", "--force", "-d")
