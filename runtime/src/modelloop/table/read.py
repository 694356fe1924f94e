"""Read one table: a file, an address, or a query of a database."""

from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import pandas as pd
import pyarrow as pa

from modelloop.addresses import without_credentials
from modelloop.errors import UserError

DATABASES = ("postgresql", "mysql", "mariadb", "sqlite", "mssql", "oracle", "duckdb", "snowflake",
             "bigquery", "redshift", "trino", "databricks")  # fmt: skip


class TableError(UserError):
    """The table cannot be read, or has no rows."""


def read_parquet(path: str | Path, columns: list[str] | None = None) -> pd.DataFrame:
    """Read a Parquet file, or some of its columns.

    Arrow would keep the memory of the read, as much as the table takes.
    """
    table = pd.read_parquet(path, columns=columns)
    pa.default_memory_pool().release_unused()
    return table


READERS = {".csv": pd.read_csv, ".parquet": read_parquet, ".pq": read_parquet}


def read_table(uri: str, query: str = "") -> pd.DataFrame:
    """Read a CSV or Parquet file, or the result of a SQL query.

    Args:
        uri: a path, any URL that fsspec knows (`s3://`, `gs://`, `https://`, ...) ending in .csv
            or .parquet (compression such as .csv.gz is detected), or a SQLAlchemy database URL.
        query: the SELECT statement; needed for a database URL.

    Returns:
        The table, one row per example.

    Raises:
        TableError: it cannot be read, or is empty; the message has the address without credentials.
    """
    if not uri:
        raise TableError(
            f"DATA_URI is not set, and data/ does not hold exactly one table ({', '.join(READERS)})"
        )
    shown = without_credentials(uri)
    if urlsplit(uri).scheme.split("+")[0] in DATABASES:
        table = _read_database(uri, query, shown)
    else:
        table = _read_file(uri, shown)
    if table.empty:
        raise TableError(f"DATA_URI {shown}: the table has no rows")
    return table


def _read_database(uri: str, query: str, shown: str) -> pd.DataFrame:
    import sqlalchemy

    if not query.strip():
        raise TableError(f"DATA_URI {shown} is a database: set DATA_QUERY to the SELECT to run")
    try:
        engine = sqlalchemy.create_engine(uri)
        with engine.connect() as connection:
            return pd.read_sql_query(sqlalchemy.text(query), connection)
    except (sqlalchemy.exc.SQLAlchemyError, pd.errors.DatabaseError, ImportError) as error:
        raise TableError(f"DATA_URI {shown}: {_reason(error, uri, shown)}") from error


def _read_file(uri: str, shown: str) -> pd.DataFrame:
    parts = urlsplit(uri)
    name = parts.path if parts.scheme else uri  # a path may hold ? and #, which end a URL's
    suffixes = PurePosixPath(name).suffixes
    reader = next((READERS[s.lower()] for s in suffixes[::-1] if s.lower() in READERS), None)
    if reader is None:
        raise TableError(
            f"DATA_URI {shown}: end it in {', '.join(READERS)} or give a database URL "
            f"({', '.join(DATABASES[:4])}, ...)"
        )
    try:
        return reader(uri)
    except pd.errors.EmptyDataError as error:
        raise TableError(f"DATA_URI {shown}: the file is empty") from error
    except UnicodeDecodeError as error:
        raise TableError(
            f"DATA_URI {shown}: the file is not UTF-8; name what it is in `load` of data.py: "
            'pd.read_csv(uri, encoding="latin-1")'
        ) from error
    except (OSError, ImportError, ValueError) as error:
        raise TableError(f"DATA_URI {shown}: {_reason(error, uri, shown)}") from error


def _reason(error: Exception, uri: str, shown: str) -> str:
    """The first line of an error, without credentials."""
    text = str(error).replace(uri, shown) or type(error).__name__
    secrets = urlsplit(uri).netloc.rpartition("@")[0].split(":")
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    return text.splitlines()[0]
