"""About the model: where it comes from, how good it is, who answers for it."""

import os
from collections.abc import Iterable
from datetime import datetime

import pandas as pd
import streamlit as st

from modelloop.addresses import without_credentials
from modelloop.app.words import number, plain
from modelloop.contract import model_card
from modelloop.contract.contract import Contract
from modelloop.project import Project
from modelloop.registry.store import tracking_uri

ALIAS_SECONDS = 60  # for which the registry's answer is kept


def about(project: Project, contract: Contract) -> None:
    """Draw the model's origin, its metrics, the gate's decision, the model card."""
    source = contract.provenance
    facts = {
        "Name": contract.name,
        "Version": contract.version or "unknown",
        "Alias": _aliases(project, contract),
        "Owner": f"{contract.owner}, {project.contact}",
        "Predicts": contract.target.description or contract.target.name,
        "Trained": f"{datetime.fromisoformat(source.trained_at):%d %B %Y, %H:%M} UTC",
        "Trained on": f"{source.rows_train:,} rows of {source.data_uri.rpartition('/')[2]}",
        "Judged on": f"{source.rows_test:,} rows it had not seen",
        "Data": f"SHA-256 {source.data_sha256[:12]}",
        "Code": f"commit {source.git_commit[:12]}",
        "Chosen": f"{source.candidate}, served as {contract.served.form.upper()}",
    }
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("The model", divider="gray")
        _table(facts.items(), ["", " "], hide_header=True)
        _links(project, contract)
    with right:
        st.subheader("On the test rows", divider="gray")
        metrics = [(name, number(value)) for name, value in contract.metrics.items()]
        _table(metrics, ["Metric", "Value"])
        if contract.decision:
            passed = "it passed" if contract.decision.passed else "it was rejected"
            st.subheader(f"The gate: {passed}", divider="gray")
            checks = [
                ("passed" if check.passed else "failed", check.name, check.detail)
                for check in contract.decision.checks
            ]
            _table(checks, ["", "Check", "Detail"])
    card = project.root / model_card.NAME
    if card.is_file():
        with st.expander("Model card"):
            st.markdown(card.read_text(encoding="utf-8"))


def _table(rows: Iterable[tuple[str, ...]], names: list[str], hide_header: bool = False) -> None:
    table = pd.DataFrame([map(plain, row) for row in rows], columns=names)
    st.table(table, border="horizontal", hide_index=True, hide_header=hide_header)


def _links(project: Project, contract: Contract) -> None:
    mlflow = without_credentials(project.settings.mlflow_tracking_uri).rstrip("/")
    with st.container(horizontal=True):
        if mlflow.startswith("http"):
            page = f"{mlflow}/#/models/{contract.name}/versions/{contract.version}"
            st.link_button("Open in MLflow", page)
        if project.grafana_url:
            page = f"{project.grafana_url}/d/model-health?var-model_name={contract.name}"
            st.link_button("Watch in Grafana", page)


def _aliases(project: Project, contract: Contract) -> str:
    """The registry's aliases of a version, or why they are unknown."""
    local = not project.settings.mlflow_tracking_uri.startswith("http")
    if local and not (project.mlruns / "mlflow.db").is_file():
        return "unknown: there is no registry here"
    return _registered(contract.name, contract.version, tracking_uri(project))


@st.cache_data(ttl=ALIAS_SECONDS, show_spinner=False)
def _registered(name: str, version: str, uri: str) -> str:
    # The page waits for this, and MLflow would retry for minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "3")
    import mlflow

    try:
        found = mlflow.MlflowClient(uri).get_model_version(name, version)
    except mlflow.exceptions.MlflowException:
        return "unknown: the registry has no answer"
    return ", ".join(f"@{alias}" for alias in found.aliases) or "none"
