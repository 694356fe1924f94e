import sqlite3

import pandas as pd
import pytest

from modelloop.table.read import TableError, read_table

TABLE = pd.DataFrame({"a": [1, 2], "b": ["x", None]})


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet"])
def test_a_file_is_read_by_its_ending(tmp_path, name):
    path = tmp_path / name
    TABLE.to_parquet(path) if name.endswith("parquet") else TABLE.to_csv(path, index=False)
    pd.testing.assert_frame_equal(read_table(str(path)), TABLE)


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet"])
def test_a_file_is_read_from_a_folder_of_any_name(tmp_path, name):
    path = tmp_path / " a?b#c%20d 'e' \"f\" ü" / name
    path.parent.mkdir()
    TABLE.to_parquet(path) if name.endswith("parquet") else TABLE.to_csv(path, index=False)
    pd.testing.assert_frame_equal(read_table(str(path)), TABLE)


def test_any_fsspec_address_is_read():
    import fsspec

    with fsspec.open("memory://bucket/t.csv", "w") as file:
        TABLE.to_csv(file, index=False)
    assert len(read_table("memory://bucket/t.csv")) == 2


def test_a_query_is_read_from_a_database(tmp_path):
    path = tmp_path / "t.db"
    with sqlite3.connect(path) as connection:
        TABLE.to_sql("t", connection, index=False)
    found = read_table(f"sqlite:///{path}", "SELECT a FROM t WHERE b = 'x'")
    assert found.to_dict("list") == {"a": [1]}


@pytest.mark.parametrize(
    ("uri", "query", "message"),
    [
        ("", "", "DATA_URI is not set, and data/ does not hold exactly one table"),
        ("nowhere.csv", "", "No such file"),
        ("table.xlsx", "", r"end it in \.csv, \.parquet"),
        ("sqlite:///t.db", "", "set DATA_QUERY"),
        ("sqlite:///:memory:", "SELECT * FROM nowhere", "no such table: nowhere"),
        ("nosuchscheme://bucket/t.csv", "", "nosuchscheme"),
    ],
)
def test_a_wrong_address_is_explained(uri, query, message):
    with pytest.raises(TableError, match=message):
        read_table(uri, query)


@pytest.mark.parametrize("text", ["", "a,b\n"])
def test_an_empty_table_is_refused(tmp_path, text):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(TableError, match=r"empty|no rows"):
        read_table(str(path))


def test_a_password_is_never_shown():
    with pytest.raises(TableError) as error:
        read_table("postgresql://me:hidden@127.0.0.1:1/db", "SELECT 1")
    assert "hidden" not in str(error.value)


def test_a_file_that_is_not_utf8_is_explained(tmp_path):
    (tmp_path / "rows.csv").write_bytes("town\nKöln\n".encode("latin-1"))
    with pytest.raises(TableError, match=r"not UTF-8; name what it is in `load` of data\.py"):
        read_table(str(tmp_path / "rows.csv"))
