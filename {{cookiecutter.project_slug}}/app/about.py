"""About the model: where it comes from, how good it is, who answers for it."""

import os
from datetime import datetime

import pandas as pd
import streamlit as st
from words import number, plain

from {{ cookiecutter.package_name }} import project
from {{ cookiecutter.package_name }}.addresses import without_credentials
from {{ cookiecutter.package_name }}.contract import Contract
from {{ cookiecutter.package_name }}.settings import ROOT, Settings

ALIAS_SECONDS = 60  # after which the registry is asked again
CARD = ROOT / "docs" / "model-card.md"


def show(contract: Contract, env: Settings) -> None:
    """Draw the tab."""
    source = contract.provenance
    facts = {
        "Name": contract.name,
        "Version": contract.version or "unknown",
        "Alias": _aliases(contract.name, contract.version, env.tracking_uri),
        "Owner": f"{contract.owner}, {project.CONTACT}",
        "Predicts": contract.target.description or contract.target.name,
        "Trained": f"{datetime.fromisoformat(source.trained_at):%d %B %Y, %H:%M} UTC",
        "Trained on": f"{source.rows_train:,} rows of {source.data_uri.rpartition('/')[2]}",
        "Judged on": f"{source.rows_test:,} rows it had not seen",
        "Data": f"SHA-256 {source.data_sha256[:12]}",
        "Code": f"commit {source.git_commit[:12]}",
        "Chosen": f"{source.candidate}, served as {contract.served.form.upper()}",
    }
    told, judged = st.columns(2, gap="large")
    with told:
        st.subheader("The model", divider="gray")
        _table([*facts.items()], ["", " "], hide_header=True)
        _links(contract, env)
    with judged:
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
    if CARD.is_file():
        with st.expander("Model card"):
            st.markdown(CARD.read_text(encoding="utf-8"))


def _table(rows: list[tuple[str, ...]], names: list[str], hide_header: bool = False) -> None:
    table = pd.DataFrame([map(plain, row) for row in rows], columns=names)
    st.table(table, border="horizontal", hide_index=True, hide_header=hide_header)


def _links(contract: Contract, env: Settings) -> None:
    mlflow = without_credentials(env.mlflow_tracking_uri).rstrip("/")
    with st.container(horizontal=True):
        if mlflow.startswith("http"):
            page = f"{mlflow}/#/models/{contract.name}/versions/{contract.version}"
            st.link_button("Open in MLflow", page)
        if project.GRAFANA_URL:
            page = f"{project.GRAFANA_URL}/d/model-health?var-model_name={contract.name}"
            st.link_button("Watch in Grafana", page)


@st.cache_data(ttl=ALIAS_SECONDS, show_spinner=False)
def _aliases(name: str, version: str, tracking_uri: str) -> str:
    """The registry's aliases of a version, as far as there is a registry that knows it."""
    local = ROOT / "mlruns" / "mlflow.db"
    if not tracking_uri.startswith("http") and not local.is_file():
        return "unknown: there is no registry here"
    # A page waits for this: MLflow's own patience is of minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "3")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow  # takes seconds, and only this needs it

    try:
        found = mlflow.MlflowClient(tracking_uri).get_model_version(name, version)
    except mlflow.exceptions.MlflowException:
        return "unknown: the registry has no answer"
    return ", ".join(f"@{alias}" for alias in found.aliases) or "none"
