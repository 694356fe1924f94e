"""One case: a form from the contract, the answer, and where the inputs lie in training."""

from collections.abc import Callable, Iterator

import charts
import numpy as np
import pandas as pd
import streamlit as st
from words import explain, hint, label, number, of_field, place, plain, usual_error

from {{ cookiecutter.package_name }}.client import ServerError
from {{ cookiecutter.package_name }}.contract import Column, Contract
from {{ cookiecutter.package_name }}.scoring import Scorer

ASKED = "asked"  # key of the last case: whose contract, what was asked, what came of it
Value = float | str | None


def show(model: Scorer, forget: Callable[[], None]) -> None:
    """Draw the form and the last answer; `forget` is called when the model is there no more."""
    contract = model.contract
    form, answer = st.columns(2, gap="large")
    with form:
        values, messages, pressed = _form(contract)
    if pressed:
        st.session_state[ASKED] = (contract.sha256, values, _ask(model, values, forget))
    of, values, (outputs, fault) = st.session_state.get(ASKED, ("", {}, (None, "")))
    if of != contract.sha256:
        answer.info("Fill in a case and ask: the model's answer appears here.")
        return
    if outputs is None:
        name, message = of_field(fault, contract) or ("", fault)
        messages.get(name, answer).error(plain(message))
        if name:
            answer.info("The model answers once the field with the message is put right.")
        return
    with answer.container(border=True):
        _answer(contract, outputs)
    st.subheader("Where this case lies in the training rows", divider="gray")
    _places(contract, values)


def _form(contract: Contract) -> tuple[dict[str, Value], dict[str, st.container], bool]:
    """The fields; returns their values, a place under each for a message, and if it was sent."""
    values, messages = {}, {}
    with st.form("case", border=False):
        for cell, column in _grid(contract.features, 2):
            with cell:
                values[column.name] = _field(column, f"{contract.sha256[:8]} {column.name}")
                messages[column.name] = st.container()
        pressed = st.form_submit_button("Ask the model", type="primary", width="stretch")
    return values, messages, pressed


def _field(column: Column, key: str) -> Value:
    """A field that starts with what is usual; the server alone judges what is entered."""
    name, told, about = plain(label(column)), plain(hint(column)), plain(column.name)
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
        usual = max(choices, key=lambda c: shares.get(c, 0.0), default=None)
        value = st.selectbox(
            name,
            choices,
            choices.index(usual) if choices else None,
            key=key,
            help=about,
            accept_new_options=column.categories is None,
        )
    with st.container(horizontal=True, vertical_alignment="center", wrap=False):
        if told:
            st.caption(told)
        # A field with a start cannot be emptied in Streamlit.
        missing = column.nullable and st.checkbox("missing", key=f"{key} missing")
    return None if missing else value


def _ask(
    model: Scorer, values: dict[str, Value], forget: Callable[[], None]
) -> tuple[np.ndarray | None, str]:
    """The model's outputs for one row, or None and why there are none."""
    try:
        scored = model.score(pd.DataFrame([values], dtype=object))
    except ServerError as error:
        forget()
        return None, explain(error)
    return (None, scored.refused[0]) if scored.refused else (scored.outputs[0], "")


def _answer(contract: Contract, outputs: np.ndarray) -> None:
    target, sure = contract.target, usual_error(contract)
    if contract.classes:
        best = int(outputs.argmax())
        told = f"{contract.classes[best]}, {outputs[best]:.0%}"
        chart = charts.chances(contract.classes, outputs)
        alt = ", ".join(f"{c} {p:.0%}" for c, p in zip(contract.classes, outputs, strict=True))
    else:
        value = float(outputs[0])
        told = number(value, target.unit)
        seen = target.model_copy(update={"reference": contract.predictions})
        chart = charts.training(seen, value)
        alt = f"{told} among the model's answers for the test rows"
    st.metric(plain(target.description or target.name), told)
    if chart:
        st.altair_chart(chart, alt=alt)
    if sure:
        st.caption(plain(f"This model is {sure}."))


def _places(contract: Contract, values: dict[str, Value]) -> None:
    """A small chart for each feature, three in a row."""
    for cell, column in _grid(contract.features, 3):
        value = values[column.name]
        with cell:
            st.markdown(f"**{plain(label(column))}**")
            chart = charts.training(column, value)
            if chart:
                st.altair_chart(chart, alt=f"{label(column)}: {place(column, value)}")
            st.caption(plain(place(column, value)))


def _grid(features: list[Column], width: int) -> Iterator[tuple[st.container, Column]]:
    """A place for each feature, row by row, so that the order holds on a phone, too."""
    for start in range(0, len(features), width):
        yield from zip(st.columns(width), features[start : start + width], strict=False)
