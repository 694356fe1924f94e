"""The demo: one case, a file, and about the model that the server at MODEL_URL serves.

`make app` runs it. Each tab is a part of the library, which knows a model by its contract alone; a
tab of your own is a name in the list and what Streamlit draws in it.
"""

import streamlit as st
from modelloop import app

from {{ cookiecutter.package_name }} import project

with app.page(project) as model:
    if model:
        one, many, facts = st.tabs(["One case", "A file", "About this model"])
        with one:
            app.one_case(model)
        with facts:  # before the file: scoring one may take a while
            app.about(project, model.contract)
        with many:
            app.whole_file(model)
