"""The local MLflow store follows its repository into another folder.

MLflow keeps absolute addresses of artifacts in its database; relative ones would be resolved
against the current folder of each process. So a table beside MLflow's records the folder of the
repository. When the repository is in another folder, because it was moved or copied, one
transaction rewrites all addresses below the former folder and records the new one: a process that
is killed leaves all of them or none.

Other mentions of the former folder are history and stay: the parameter and the datasets that say
where the table was read from, and `artifact_path` in the MLmodel files, which MLflow only shows.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

TABLE = "modelloop_location"  # one row with one column, the folder
ARTIFACTS = Path("mlruns", "artifacts")  # where a repository keeps them
TIMEOUT = 60.0  # seconds to wait for another process's transaction

# Where MLflow keeps addresses of artifacts: table, column, which rows.
ADDRESSES = (
    ("experiments", "artifact_location", "true"),
    ("runs", "artifact_uri", "true"),
    ("logged_models", "artifact_location", "true"),
    ("model_versions", "source", "true"),
    ("model_versions", "storage_location", "true"),
    ("trace_tags", "value", "key = 'mlflow.artifactLocation'"),
)


def is_ready(database: Path, experiment: str, folder: Path | None) -> bool:
    """Whether a SQLite store is complete: MLflow's tables, the experiment, the right addresses.

    Args:
        database: the SQLite file; it may not exist yet.
        experiment: the name of the experiment; it is made last, after all tables.
        folder: the repository that the store belongs to; None for a store elsewhere.
    """
    try:
        with _opened(database, "ro") as connection:
            known = connection.execute("SELECT 1 FROM experiments WHERE name = ?", [experiment])
            is_made = known.fetchone() is not None
            return is_made and (folder is None or _recorded(connection) == folder)
    except sqlite3.OperationalError:  # no file, or no table yet
        return False


def follow(database: Path, folder: Path) -> None:
    """Rewrite every address below the repository's former folder to its present one.

    Call it under a lock, on a store that has MLflow's tables.

    Args:
        database: the SQLite file of the local store.
        folder: the repository, absolute.
    """
    with _opened(database, "rw") as connection:
        connection.execute("BEGIN IMMEDIATE")
        former = _recorded(connection) or _made_in(connection) or folder
        connection.create_function(
            "moved", 1, lambda address: _moved(address, former, folder), deterministic=True
        )
        for table, column, rows in ADDRESSES:
            connection.execute(
                f"UPDATE {table} SET {column} = moved({column}) "
                f"WHERE {rows} AND {column} IS NOT moved({column})"
            )
        connection.execute(f"CREATE TABLE IF NOT EXISTS {TABLE} (folder TEXT NOT NULL)")
        connection.execute(f"DELETE FROM {TABLE}")
        connection.execute(f"INSERT INTO {TABLE} VALUES (?)", [str(folder)])
        connection.execute("COMMIT")


@contextmanager
def _opened(database: Path, mode: str) -> Iterator[sqlite3.Connection]:
    address = f"{database.absolute().as_uri()}?mode={mode}"
    with closing(
        sqlite3.connect(address, uri=True, timeout=TIMEOUT, isolation_level=None)
    ) as connection:
        yield connection


def _recorded(connection: sqlite3.Connection) -> Path | None:
    """The folder of the repository as recorded; None in a store of an earlier version."""
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    if connection.execute(query, [TABLE]).fetchone() is None:
        return None
    row = connection.execute(f"SELECT folder FROM {TABLE}").fetchone()
    return Path(row[0]) if row else None


def _made_in(connection: sqlite3.Connection) -> Path | None:
    """The folder of a store without a record, from the address of the experiment of `connect`."""
    for (address,) in connection.execute("SELECT artifact_location FROM experiments"):
        path = _path(address)
        if path and path.parts[-2:] == ARTIFACTS.parts:
            return path.parents[1]
    return None


def _moved(address: str | None, former: Path, folder: Path) -> str | None:
    path = _path(address)
    if path is None or not path.is_relative_to(former):
        return address
    return (folder / path.relative_to(former)).as_uri()


def _path(address: str | None) -> Path | None:
    """The path of a local address; None for other addresses.

    An experiment that is made without an address gets a plain path from MLflow, which then decodes
    percent signs in it: `follow` makes it a URI.
    """
    if address and address.startswith("file:"):
        return Path(url2pathname(urlsplit(address).path))
    return Path(address) if address and address.startswith("/") else None
