"""What is read from the environment, with the defaults of a repository."""

import pytest

from modelloop.addresses import without_credentials
from modelloop.errors import UserError
from modelloop.registry import store


def test_a_wrong_variable_is_named_with_its_value(project, monkeypatch):
    monkeypatch.setenv("SERVE_PORT", "99999")
    with pytest.raises(UserError, match=r"SERVE_PORT='99999'.*65535"):
        project.settings  # noqa: B018 reading it raises


@pytest.mark.parametrize("origins", ["*", "https://example.com,http://localhost:8501"])
def test_origins(project, monkeypatch, origins):
    monkeypatch.setenv("CORS_ORIGINS", origins)
    assert project.settings.cors_origins == origins


@pytest.mark.parametrize("origin", ["example.com", "https://example.com/", "null"])
def test_what_is_no_origin_is_refused(project, monkeypatch, origin):
    monkeypatch.setenv("CORS_ORIGINS", f"https://example.com,{origin}")
    with pytest.raises(UserError, match=f"CORS_ORIGINS=.*'{origin}' is neither"):
        project.settings  # noqa: B018 reading it raises


def test_an_empty_variable_means_unset(project, monkeypatch):
    monkeypatch.setenv("DATA_URI", "")
    assert project.settings.data_uri == str(project.root / "data" / "penguins.csv")


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (["README.md", "our rows.csv"], "our rows.csv"),
        (["rows.csv.gz"], "rows.csv.gz"),
        (["rows.parquet", "rows.sql"], "rows.parquet"),
        (["a.csv", "b.parquet"], ""),
        (["README.md"], ""),
        ([], ""),
    ],
)
def test_the_only_table_in_data_is_the_default(project, monkeypatch, tmp_path, files, found):
    monkeypatch.delenv("DATA_URI", raising=False)
    for name in files:
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / name).touch()
    elsewhere = project.model_copy(update={"root": tmp_path})
    assert elsewhere.settings.data_uri == (str(tmp_path / "data" / found) if found else "")


@pytest.mark.parametrize(
    ("commit", "tag"),
    [("a" * 40, "a" * 12), ("a" * 40 + "-dirty", "a" * 12 + "-dirty"), ("unknown", "unknown")],
)
def test_an_image_of_changed_code_is_not_that_of_the_commit(project, monkeypatch, commit, tag):
    monkeypatch.setenv("GIT_COMMIT", commit)
    assert project.image.endswith(f"-python:{tag}")


def test_the_local_store_lies_in_the_repository(project, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert store.tracking_uri(project) == f"sqlite:///{project.root}/mlruns/mlflow.db"


@pytest.mark.parametrize("address", ["sqlite:////srv/mlflow.db", "file:/srv/rows.csv", "rows.csv"])
def test_an_address_without_credentials_is_shown_as_it_is(address):
    assert without_credentials(address) == address


def test_addresses_are_shown_without_credentials(project, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:hidden@mlflow.example.com/a?token=hidden")
    monkeypatch.setenv("DATA_URI", "postgresql://me:hidden@db.example.com/shop")
    assert project.shown_tracking_uri == "https://mlflow.example.com/a"
    assert project.settings.shown_data_uri == "postgresql://db.example.com/shop"
