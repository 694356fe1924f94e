"""The labels that a PromQL expression yields, derived from those of the series in it."""

from collections.abc import Mapping

import promql_parser as promql

# Prometheus adds these to what it scrapes.
TARGET = {"job", "instance"}
# What Prometheus itself writes, as far as every series of the name has it.
OF_PROMETHEUS = {
    "up": {"model_name"} | TARGET,
    "ALERTS": {"model_name", "severity", "alertname", "alertstate"},
    "ALERTS_FOR_STATE": {"model_name", "severity", "alertname"},
}
WHOLE = {"topk", "bottomk", "limitk", "limit_ratio"}  # aggregations that pass series on


class Labels:
    """The labels of what an expression yields; what never matches goes into `faults`."""

    def __init__(self, known: Mapping[str, set[str]], faults: list[str]) -> None:
        self.known = known
        self.faults = faults

    def of(self, node: promql.Expr) -> set[str]:
        """The labels; none of a number or a text."""
        match node:
            case promql.VectorSelector():
                return self._of_series(node)
            case promql.MatrixSelector():
                return self.of(node.vector_selector)
            case promql.SubqueryExpr() | promql.ParenExpr() | promql.UnaryExpr():
                return self.of(node.expr)
            case promql.AggregateExpr():
                return self._of_aggregation(node)
            case promql.Call():
                return self._of_call(node)
            case promql.BinaryExpr():
                return self._of_two(node)
        return set()

    def _of_series(self, node: promql.VectorSelector) -> set[str]:
        if node.name not in self.known:
            self.faults.append(f"no series {node.name}")
            return {matcher.name for matcher in node.matchers.matchers}
        found = self.known[node.name]
        for matcher in node.matchers.matchers:
            self._demand(matcher.name in found, f"{node.name} has no label {matcher.name}")
        return found

    def _of_aggregation(self, node: promql.AggregateExpr) -> set[str]:
        found = self.of(node.expr)
        if node.modifier is None:
            return found if str(node.op) in WHOLE else set()
        named = set(node.modifier.labels)
        for label in sorted(named - found):
            self.faults.append(f"{node.expr.prettify()} has no label {label}")
        by = node.modifier.type == promql.AggModifierType.By
        return named & found if by else found - named

    def _of_call(self, node: promql.Call) -> set[str]:
        found = set().union(*map(self.of, node.args))
        if node.func.name == "histogram_quantile":
            return found - {"le"}
        if node.func.name in ("label_replace", "label_join"):
            return found | {node.args[1].val}
        return found

    def _of_two(self, node: promql.BinaryExpr) -> set[str]:
        left, right = self.of(node.lhs), self.of(node.rhs)
        if not (left and right) or str(node.op) == "or":
            return left | right
        matching = node.modifier and node.modifier.matching
        cannot_match = f"{left} and {right} cannot match: {node.prettify()}"
        if matching and matching.type == promql.LabelModifierType.Include:
            on = set(matching.labels)
            self._demand(on <= left & right, cannot_match)
        else:
            ignored = set(matching.labels) if matching else set()
            on = left - ignored
            self._demand(on == right - ignored, cannot_match)
        if str(node.op) in ("and", "unless"):
            return left
        match node.modifier and node.modifier.card:
            case promql.VectorMatchCardinality.ManyToOne:
                return left | set(node.modifier.group_labels)
            case promql.VectorMatchCardinality.OneToMany:
                return right | set(node.modifier.group_labels)
        return on

    def _demand(self, met: bool, fault: str) -> None:
        if not met:
            self.faults.append(fault)
