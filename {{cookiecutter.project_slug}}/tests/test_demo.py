"""The demo in app/, against a server: its form is answered."""

import pytest
from streamlit.testing.v1 import AppTest


@pytest.fixture
def page(project, server, monkeypatch) -> AppTest:
    monkeypatch.setenv("MODEL_URL", f"http://127.0.0.1:{server.port}")
    return AppTest.from_file(str(project.root / "app" / "demo.py"), default_timeout=60).run()


def test_the_page_shows_the_model_that_is_served(page, contract):
    assert not page.exception
    assert contract.name in page.title[0].value
    assert f"Version {contract.version}" in page.caption[0].value


def test_the_form_is_answered(page):
    page.button[0].click().run()
    assert not page.exception
    assert page.metric, "the model's answer is shown as a metric"
