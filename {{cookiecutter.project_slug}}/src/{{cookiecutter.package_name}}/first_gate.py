"""A gate for a first release: its floor lies between guessing and what the candidates reach."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import pandas as pd
from sklearn.pipeline import Pipeline

from . import project, roles
from .training import problem, train
from .training.prepare import Rows, weights

BALANCED = 0.6  # up to this share of the largest class, accuracy tells enough
SEED = 7


@dataclass(frozen=True)
class FirstGate:
    """What is proposed, and why.

    Attributes:
        guess: the score of an answer that looks at no feature.
        scores: what each candidate scores on the rows held out.
    """

    metric: str
    guess: float
    scores: dict[str, float]

    @property
    def weakest(self) -> float:
        """The score of the weakest candidate."""
        worst = min if problem.HIGHER_IS_BETTER[self.metric] else max
        return worst(self.scores.values())

    @property
    def failing(self) -> list[str]:
        """The candidates that are not better than guessing."""
        sign = 1 if problem.HIGHER_IS_BETTER[self.metric] else -1
        return [name for name, score in self.scores.items() if sign * score <= sign * self.guess]

    @property
    def floor(self) -> float:
        """Half of the way from guessing to the weakest candidate; guessing, where it is worse."""
        return self.guess if self.failing else (self.guess + self.weakest) / 2

    @property
    def source(self) -> str:
        """The assignment to GATE."""
        others = ", ".join(m for m in problem.HIGHER_IS_BETTER if m != self.metric)
        higher = problem.HIGHER_IS_BETTER[self.metric]
        more = "raise" if higher else "lower"
        margin = 0.02 if higher else float(f"{self.guess / 50:.1g}")
        return (
            "GATE = Gate(\n"
            f'    metric="{self.metric}",  # or {others}\n'
            f"    # Guessing gives {self.guess:.3g}, the weakest candidate gave "
            f"{self.weakest:.3g}: {more} it.\n"
            f"    floor={float(f'{self.floor:.3g}')!r},\n"
            f"    margin={margin!r},  # how much worse than the champion a candidate may be\n"
            "    slices=[],  # categories whose groups must each clear a slice_floor\n"
            "    latency_ms=50.0,  # for one row, on the machine that trains\n"
            ")"
        )


def propose(rows: Rows, candidates: Mapping[str, Callable[[], Pipeline]]) -> FirstGate:
    """Fit every candidate on some of the training rows, and score it on others of them."""
    target = rows.train[rows.target.name]
    looked_at = roles.sample(target, project.PROBLEM_TYPE, len(rows.features))
    some = rows.train.loc[looked_at.index]
    print(f"\nTrying the candidates of model.py on {len(some):,} rows ...", flush=True)
    sample = replace(rows, train=some)
    *_, (fitted, held_out) = train.folds(sample, SEED)
    known = some.iloc[held_out]
    truth = known[rows.target.name].to_numpy()
    metric, guess = _guess(target)
    scores = {}
    for name, build in candidates.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of convergence: this is a trial
            model = train.fit(build(), sample, some.iloc[fitted])
        outputs = train.from_sklearn(model)(train.table_of(rows.inputs(known)))
        found = problem.score(truth, outputs, problem.classes_of(model), weights(known))
        scores[name] = found[metric]
    return FirstGate(metric, guess, scores)


def _guess(truth: pd.Series) -> tuple[str, float]:
    """The metric that suits the target, and what guessing scores in it."""
    if project.PROBLEM_TYPE == "regression":
        return "rmse", float(truth.std())
    shares = truth.value_counts(normalize=True)
    if shares.iloc[0] <= BALANCED:
        return "accuracy", float(shares.iloc[0])
    return "balanced_accuracy", 1 / len(shares)
