"""One case: a form from the contract, the answer, and the inputs among the training rows."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from modelloop.app import charts
from modelloop.app.page import endpoint
from modelloop.app.words import explain, hint, label, number, of_field, plain, position, usual_error
from modelloop.batch.scoring import Scorer
from modelloop.contract.contract import Column, Contract
from modelloop.serving.client import ServerError

LAST = "last case"  # key of the case that was sent last
Value = float | str | None


@dataclass(frozen=True)
class Case:
    """A case that was sent.

    Attributes:
        contract_sha256: the digest of the contract that its form was made from.
        values: the values of the features.
        outputs: the model's outputs, of shape (m,); None where there are none.
        fault: why there are none.
    """

    contract_sha256: str
    values: dict[str, Value]
    outputs: np.ndarray | None
    fault: str


def one_case(model: Scorer) -> None:
    """Draw a form for one row, the model's last answer, and the values among the training rows."""
    contract = model.contract
    form, answer = st.columns(2, gap="large")
    with form:
        values, messages, pressed = _form(contract)
    if pressed:
        st.session_state[LAST] = Case(contract.sha256, values, *_outputs(model, values))
    case: Case | None = st.session_state.get(LAST)
    if case is None or case.contract_sha256 != contract.sha256:
        answer.info("Fill in a case and ask: the model's answer appears here.")
        return
    if case.outputs is None:
        name, message = of_field(case.fault, contract) or ("", case.fault)
        messages.get(name, answer).error(plain(message))
        if name:
            answer.info("The model answers once the field with the message is put right.")
        return
    with answer.container(border=True):
        _answer(contract, case.outputs)
    st.subheader("Where this case lies in the training rows", divider="gray")
    _places(contract, case.values)


def _form(contract: Contract) -> tuple[dict[str, Value], dict[str, DeltaGenerator], bool]:
    """The fields; returns their values, a place below each for a message, and if it was sent."""
    values: dict[str, Value] = {}
    messages: dict[str, DeltaGenerator] = {}
    with st.form("case", border=False):
        for place, column in _grid(contract.features, 2):
            with place:
                values[column.name] = _field(column, f"{contract.sha256[:8]} {column.name}")
                messages[column.name] = st.container()
        pressed = st.form_submit_button("Ask the model", type="primary", width="stretch")
    return values, messages, pressed


def _field(column: Column, key: str) -> Value:
    """A field that starts with the usual value; only the server checks what is entered."""
    name, caption, about = plain(label(column)), plain(hint(column)), plain(column.name)
    value: Value
    if column.kind == "number":
        whole = column.dtype.lower().startswith(("int", "uint"))
        value = st.number_input(
            name,
            value=column.median,
            step=1.0 if whole else None,
            format="%.15g",
            key=key,
            help=about,
            placeholder="empty",
        )
    else:
        seen = column.reference.categories or []
        choices = column.categories or seen
        shares = dict(zip(seen, column.reference.shares, strict=False))
        usual = max(range(len(choices)), key=lambda i: shares.get(choices[i], 0.0), default=None)
        value = st.selectbox(
            name,
            choices,
            usual,
            key=key,
            help=about,
            accept_new_options=column.categories is None,
        )
    with st.container(horizontal=True, vertical_alignment="center", wrap=False):
        if caption:
            st.caption(caption)
        # A field that starts with a value cannot be emptied in Streamlit.
        missing = column.nullable and st.checkbox("missing", key=f"{key} missing")
    return None if missing else value


def _outputs(model: Scorer, values: dict[str, Value]) -> tuple[np.ndarray | None, str]:
    """The model's outputs for one row, or None and why there are none."""
    try:
        scored = model.score(pd.DataFrame([values], dtype=object))
    except ServerError as error:
        endpoint.clear()
        return None, explain(error)
    return (None, scored.refused[0]) if scored.refused else (scored.outputs[0], "")


def _answer(contract: Contract, outputs: np.ndarray) -> None:
    target, sure = contract.target, usual_error(contract)
    if contract.classes:
        best = int(outputs.argmax())
        shown = f"{contract.classes[best]}, {outputs[best]:.0%}"
        chart: charts.Drawn | None = charts.chances(contract.classes, outputs)
        alt = ", ".join(f"{c} {p:.0%}" for c, p in zip(contract.classes, outputs, strict=True))
    else:
        value = float(outputs[0])
        shown = number(value, target.unit)
        seen = target.model_copy(update={"reference": contract.predictions})
        chart = charts.training(seen, value)
        alt = f"{shown} among the model's answers for the test rows"
    st.metric(plain(target.description or target.name), shown)
    if chart:
        st.altair_chart(chart, alt=alt)
    if sure:
        st.caption(plain(f"This model is {sure}."))


def _places(contract: Contract, values: dict[str, Value]) -> None:
    """A small chart for each feature, three in a row."""
    for place, column in _grid(contract.features, 3):
        value = values[column.name]
        with place:
            st.markdown(f"**{plain(label(column))}**")
            chart = charts.training(column, value)
            if chart:
                st.altair_chart(chart, alt=f"{label(column)}: {position(column, value)}")
            st.caption(plain(position(column, value)))


def _grid(features: list[Column], width: int) -> Iterator[tuple[DeltaGenerator, Column]]:
    """A place for each feature, row by row, so that the order holds on a phone, too."""
    for start in range(0, len(features), width):
        yield from zip(st.columns(width), features[start : start + width], strict=False)
