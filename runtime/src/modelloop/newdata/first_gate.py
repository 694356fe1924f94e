"""A gate for a first release: its floor lies between guessing and what the candidates reach."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import pandas as pd
from sklearn.pipeline import Pipeline

from modelloop.newdata import profile
from modelloop.table.columns import ColumnRule
from modelloop.table.prepare import Rows, weights
from modelloop.training import problem, train

BALANCED = 0.6  # up to this share of the largest class, accuracy is the metric
SEED = 7


@dataclass(frozen=True)
class FirstGate:
    """The proposed gate, and the scores that it follows from.

    Attributes:
        metric: what the gate judges by.
        baseline: the score of guessing, which looks at no feature.
        scores: what each candidate scores on the rows held out.
        higher_is_better: every metric of the problem, by name.
    """

    metric: str
    baseline: float
    scores: dict[str, float]
    higher_is_better: dict[str, bool]

    @property
    def weakest(self) -> float:
        """The score of the weakest candidate."""
        worst = min if self.higher_is_better[self.metric] else max
        return worst(self.scores.values())

    @property
    def failing(self) -> list[str]:
        """The candidates that are not better than guessing."""
        sign = 1 if self.higher_is_better[self.metric] else -1
        return [name for name, score in self.scores.items() if sign * score <= sign * self.baseline]

    @property
    def floor(self) -> float:
        """Half of the way from the baseline to the weakest candidate, or the baseline if better."""
        return self.baseline if self.failing else (self.baseline + self.weakest) / 2

    @property
    def source(self) -> str:
        """The assignment to GATE."""
        others = ", ".join(m for m in self.higher_is_better if m != self.metric)
        higher = self.higher_is_better[self.metric]
        more = "raise" if higher else "lower"
        margin = 0.02 if higher else float(f"{self.baseline / 50:.1g}")
        return (
            "GATE = Gate(\n"
            f'    metric="{self.metric}",  # or {others}\n'
            f"    # Guessing gives {self.baseline:.3g}, the weakest candidate gave "
            f"{self.weakest:.3g}: {more} it.\n"
            f"    floor={float(f'{self.floor:.3g}')!r},\n"
            f"    margin={margin!r},  # how much worse than the champion a candidate may be\n"
            "    slices=[],  # categories whose groups must each clear a slice_floor\n"
            "    latency_ms=50.0,  # for one row, on the machine that trains\n"
            ")"
        )


def propose(rows: Rows, candidates: Mapping[str, Callable[[], Pipeline]]) -> FirstGate:
    """Fit every candidate on one part of the training rows, and score it on another.

    Raises:
        DataError: the training rows cannot be divided, as in a cross-validation.
    """
    target, problem_type = rows.train[rows.target.name], problem.type_of(rows.target)
    kind = problem.of_target(rows.target)
    sampled = rows.train.loc[profile.sample(target, problem_type, len(rows.features)).index]
    print(f"\nTrying the candidates of model.py on {len(sampled):,} rows ...", flush=True)
    sample = replace(rows, train=sampled)
    *_, (fitted, held_out) = train.folds(sample, SEED)
    judged = sampled.iloc[held_out]
    truth = judged[rows.target.name].to_numpy()
    metric, baseline = _baseline(target, rows.target)
    scores = {}
    for name, build in candidates.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of convergence: this is a trial
            model = train.fit(build(), sample, sampled.iloc[fitted])
        predict = train.from_sklearn(model, problem_type)
        outputs = predict(train.table_of(rows.inputs(judged)))
        by_metric = kind.score(truth, outputs, kind.classes_of(model), weights(judged))
        scores[name] = by_metric[metric]
    return FirstGate(metric, baseline, scores, kind.HIGHER_IS_BETTER)


def _baseline(truth: pd.Series, rule: ColumnRule) -> tuple[str, float]:
    """The metric that suits the target, and what guessing scores in it."""
    if rule.kind == "number":
        return "rmse", float(truth.std())
    shares = truth.value_counts(normalize=True)
    if shares.iloc[0] <= BALANCED:
        return "accuracy", float(shares.iloc[0])
    return "balanced_accuracy", 1 / len(shares)
