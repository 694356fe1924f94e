"""A file: check it, score it in chunks, show and hand out what became of it."""

from collections.abc import Callable

import charts
import pandas as pd
import streamlit as st
from table_run import TableRun, open_table
from words import explain, number, plain

from {{ cookiecutter.package_name }}.client import ServerError
from {{ cookiecutter.package_name }}.contract import Contract
from {{ cookiecutter.package_name }}.errors import UserError
from {{ cookiecutter.package_name }}.scoring import Scorer

RUN = "run"  # key of the run of the file that is uploaded
SHOWN = 100  # rows of a table on the page


def show(model: Scorer, forget: Callable[[], None]) -> None:
    """Draw the upload, the run and its results; `forget` as in one_case."""
    contract = model.contract
    file = st.file_uploader("CSV or Parquet, up to 200 MB", ["csv", "parquet", "pq"], key="file")
    names = ", ".join(column.name for column in contract.features)
    if file is None:
        st.session_state.pop(RUN, None)
        st.caption(plain(f"It needs the columns {names}, in any order; others are kept."))
        return
    try:
        run = _run_of(file, contract)
    except UserError as error:
        st.error(plain(str(error)))
        return
    if not run.finished:
        run = _go_on(run, model, forget)
    if run.done:
        _results(run, file.name.rpartition(".")[0])


def _run_of(file: st.runtime.uploaded_file_manager.UploadedFile, contract: Contract) -> TableRun:
    """The run of an upload, which outlives reruns of the page."""
    found = st.session_state.get(RUN)
    if found is None or found[0] != file.file_id:
        with st.spinner("Reading the file"):
            st.session_state[RUN] = found = (file.file_id, open_table(file.name, file, contract))
    return found[1]


def _go_on(run: TableRun, model: Scorer, forget: Callable[[], None]) -> TableRun:
    """Offer to score what is left, and do it while the page shows how far it is."""
    count, contract = len(run.rows), model.contract
    if run.fault:
        st.error(plain(run.fault))
    text = f"Go on from row {run.done:,}" if run.done else f"Score {count:,} rows"
    if run.contract.sha256 != contract.sha256:
        st.warning(plain(f"Version {contract.version} is served now, not {run.contract.version}."))
        text = f"Score all {count:,} rows with version {contract.version}"
    elif run.done:
        st.info(f"{run.done:,} of {count:,} rows are kept.")
    place = st.empty()
    if not place.button(text, type="primary", key="score"):
        return run
    if run.contract.sha256 != contract.sha256:
        run = TableRun(run.rows, contract, run.is_text)
        st.session_state[RUN] = (st.session_state[RUN][0], run)
    run.fault = ""
    bar = place.progress(run.done / count, run.progress)
    try:
        while not run.finished:
            run.step(model)
            bar.progress(run.done / count, run.progress)
    except ServerError as error:
        run.fault = explain(error)
        forget()
    st.rerun()


def _results(run: TableRun, name: str) -> None:
    rates = st.columns(3)
    rates[0].metric("Rows scored", f"{run.done - len(run.refused):,}")
    rates[1].metric("Rows refused", f"{len(run.refused):,}")
    rates[2].metric("Rows a second", number(run.done / run.seconds))
    with st.container(horizontal=True):
        st.download_button("Download CSV", run.csv, f"{name}-scored.csv", "text/csv")
        st.download_button("Download Parquet", run.parquet, f"{name}-scored.parquet")
    answers = run.answers().dropna()
    if len(answers):
        st.subheader("The answers", divider="gray")
        st.altair_chart(
            charts.results(run.contract, answers),
            alt=f"Distribution of {len(answers)} answers beside those of the test rows",
        )
        st.caption("Bars: this file. Line: the model's answers when it was trained.")
    if run.refused:
        st.subheader("Refused rows", divider="gray")
        some = list(run.refused.items())[:SHOWN]
        table = pd.DataFrame(some, columns=["row, from 0", "reason"])
        st.dataframe(table, hide_index=True, column_config={"row, from 0": {"width": "small"}})
    st.subheader(f"The first {min(run.done, SHOWN):,} rows", divider="gray")
    st.dataframe(run.results(SHOWN))
