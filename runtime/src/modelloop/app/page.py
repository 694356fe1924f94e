"""The frame of the demo: the server that it shows, and a message where none answers."""

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from modelloop.app.words import explain, plain
from modelloop.batch.scoring import Endpoint
from modelloop.errors import UserError
from modelloop.project import Project
from modelloop.serving.client import ServerError

WIDTH = 1120  # pixels; on a smaller screen all of it
LAST = "last"  # key of the server as it answered last
KNOWN_SECONDS = 15  # for which the server's contract is kept


@st.cache_resource(ttl=KNOWN_SECONDS, show_spinner="Asking the server for its model")
def endpoint(url: str) -> Endpoint:
    """The server, with the contract of the model it serves."""
    return Endpoint(url)


@contextmanager
def page(project: Project) -> Iterator[Endpoint | None]:
    """The page: its width, its title, and advice where no server answers.

    When a server is lost, the page stays as it is: the one that answered last is yielded.

    Yields:
        The server at MODEL_URL with its contract; None where none has ever answered.
    """
    st.set_page_config(project.name, page_icon="📈", layout="wide")
    with st.container(horizontal_alignment="center"), st.container(width=WIDTH):
        model = _connected(project)
        if model:
            contract = model.contract
            st.title(plain(contract.name))
            st.markdown(plain(contract.description))
            st.caption(plain(f"Version {contract.version or 'unknown'}, by {contract.owner}"))
        yield model


def _connected(project: Project) -> Endpoint | None:
    try:
        url = project.settings.server_url
    except UserError as error:
        st.error(plain(str(error)))
        return None
    try:
        st.session_state[LAST] = endpoint(url)
    except ServerError as error:
        if LAST not in st.session_state:
            st.title(plain(project.name))
        st.error(plain(explain(error)))
        st.button("Try again", type="primary")
    found: Endpoint | None = st.session_state.get(LAST)
    return found
