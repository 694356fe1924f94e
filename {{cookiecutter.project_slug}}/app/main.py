"""The demo: one case, a file, and about the model that the server at MODEL_URL serves.

What is asked and shown follows from the contract that the server tells: nothing here knows a model.
"""

import about
import one_case
import streamlit as st
import whole_file
from words import explain, plain

from {{ cookiecutter.package_name }} import project, settings
from {{ cookiecutter.package_name }}.client import ServerError
from {{ cookiecutter.package_name }}.errors import UserError
from {{ cookiecutter.package_name }}.scoring import Endpoint

WIDTH = 1120  # pixels; on a smaller screen all of it
LAST = "last"  # key of the server as it answered last
KNOWN_SECONDS = 15  # after which the server is asked again which model it serves


@st.cache_resource(ttl=KNOWN_SECONDS, show_spinner="Asking the server for its model")
def endpoint(url: str) -> Endpoint:
    """The server, with the contract of the model it serves."""
    return Endpoint(url)


def main() -> None:
    """Draw the page."""
    st.set_page_config(project.NAME, page_icon="📈", layout="wide")
    with st.container(horizontal_alignment="center"), st.container(width=WIDTH):
        try:
            env = settings.load()
        except UserError as error:
            st.error(plain(str(error)))
            return
        try:
            st.session_state[LAST] = endpoint(env.server_url)
        except ServerError as error:
            if LAST not in st.session_state:
                st.title(plain(project.NAME))
            st.error(plain(explain(error)))
            st.button("Try again", type="primary")
        # A server that is lost takes nothing off the page.
        if LAST in st.session_state:
            show(env, st.session_state[LAST])


def show(env: settings.Settings, model: Endpoint) -> None:
    """Draw the page of a model that answers."""
    contract = model.contract
    st.title(plain(contract.name))
    st.markdown(plain(contract.description))
    st.caption(plain(f"Version {contract.version or 'unknown'}, by {contract.owner}"))
    one, many, told = st.tabs(["One case", "A file", "About this model"])
    with one:
        one_case.show(model, forget=endpoint.clear)
    with told:  # before the file: scoring one may take a while
        about.show(contract, env)
    with many:
        whole_file.show(model, forget=endpoint.clear)


main()
