"""A file: check it, score it in chunks, show its results and offer them for download."""

import pandas as pd
import streamlit as st

from modelloop.app import charts
from modelloop.app.page import endpoint
from modelloop.app.table_run import TableRun, open_table
from modelloop.app.words import explain, number, plain
from modelloop.batch.scoring import Scorer
from modelloop.contract.contract import Contract
from modelloop.errors import UserError
from modelloop.serving.client import ServerError

RUN = "run"  # key of the run of the file that is uploaded
SHOWN = 100  # rows of a table on the page


def whole_file(model: Scorer) -> None:
    """Draw the upload of a file, the progress of scoring it, and its results."""
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
        run = _score(run, model)
    if run.done:
        _results(run, file.name.rpartition(".")[0])


def _run_of(file: st.runtime.uploaded_file_manager.UploadedFile, contract: Contract) -> TableRun:
    """The run of an upload, which outlives reruns of the page."""
    found = st.session_state.get(RUN)
    if found is None or found[0] != file.file_id:
        with st.spinner("Reading the file"):
            st.session_state[RUN] = found = (file.file_id, open_table(file.name, file, contract))
    return found[1]


def _score(run: TableRun, model: Scorer) -> TableRun:
    """A button that scores the remaining rows while the page shows the progress."""
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
        endpoint.clear()
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
