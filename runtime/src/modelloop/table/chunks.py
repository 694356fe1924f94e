"""Read and write tables of any size in chunks of rows: CSV, CSV in gzip, Parquet.

The columns of a CSV file stay text: their types are not guessed.
"""

import csv
import gzip
import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from modelloop.errors import UserError

CSV, GZIP, PARQUET = "csv", "csv.gz", "parquet"
ENDINGS = {".csv": CSV, ".csv.gz": GZIP, ".parquet": PARQUET, ".pq": PARQUET}
BUFFER = 1024 * 1024  # bytes of a read; Arrow holds some dozens; a line of CSV can be no longer


def ending(name: str) -> str:
    """The known ending of a file's name, one of ENDINGS.

    Raises:
        UserError: it has another one.
    """
    found = [end for end in ENDINGS if name.lower().endswith(end)]
    if not found:
        raise UserError(f"{name}: its name must end in {', '.join(ENDINGS)}")
    return found[0]


class Source:
    """A table in a file, read once from start to end.

    Attributes:
        is_text: whether it is a CSV file: then every column is text, without nulls.
        names: the names of the columns.
    """

    def __init__(self, path: Path) -> None:
        """Read the names of the columns.

        Raises:
            UserError: the file cannot be read, or two columns have the same name.
        """
        self._path = path
        self._kind = ENDINGS[ending(path.name)]
        self._share = 0.0
        self.is_text = self._kind != PARQUET
        with _readable(path):
            self.names = self._header() if self.is_text else pq.read_schema(path).names
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        if twice:
            raise UserError(f"{path}: more than one column is called {', '.join(map(repr, twice))}")

    def chunks(self, rows: int, skip: int = 0) -> Iterator[pa.Table]:
        """The table after its first `skip` rows, in chunks of `rows`; the last one may be shorter.

        Raises:
            UserError: the rest of the file cannot be read.
        """
        with _readable(self._path), pa.OSFile(str(self._path)) as file:
            batches = self._text(file) if self.is_text else self._parquet(file, rows)
            yield from _rechunked(batches, rows, skip)
        self._share = 1.0

    @property
    def share(self) -> float:
        """The share of the file that has been read, from 0 to 1."""
        return self._share

    def _header(self) -> list[str]:
        opened = gzip.open if self._kind == GZIP else open
        with opened(self._path, "rt", encoding="utf-8-sig", newline="") as file:
            names = next(csv.reader(file), None)
        if not names:
            raise UserError(f"{self._path}: the file is empty")
        return names

    def _text(self, file: pa.NativeFile) -> Iterator[pa.RecordBatch]:
        size = file.size()
        unpacked = pa.CompressedInputStream(file, "gzip") if self._kind == GZIP else file
        reader = pyarrow.csv.open_csv(
            unpacked,
            pyarrow.csv.ReadOptions(block_size=BUFFER),
            pyarrow.csv.ParseOptions(newlines_in_values=True),
            pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(self.names, pa.string())),
        )
        for batch in reader:
            self._share = 1.0 if file.closed else file.tell() / size
            yield batch

    def _parquet(self, file: pa.NativeFile, rows: int) -> Iterator[pa.RecordBatch]:
        # Row groups may be as large as the file: they are read through a buffer, not whole.
        parquet = pq.ParquetFile(file, buffer_size=BUFFER, pre_buffer=False)
        seen = 0
        for batch in parquet.iter_batches(rows):
            seen += len(batch)
            self._share = seen / parquet.metadata.num_rows
            yield batch.replace_schema_metadata(None)


def block(table: pa.Table, kind: str, *, first: bool) -> bytes:
    """A chunk as bytes, to append to those of the chunks before; see `finish`.

    Args:
        table: the chunk.
        kind: the kind of the finished file, one of ENDINGS' values.
        first: whether it is the first chunk, which has the header.

    Raises:
        UserError: CSV cannot hold a column's values, such as lists.
    """
    if kind == PARQUET:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        return sink.getvalue().to_pybytes()
    text = (_lines([table.column_names]) if first else b"") + _csv(table)
    return gzip.compress(text, compresslevel=5, mtime=0) if kind == GZIP else text


def finish(blocks: Path, kind: str) -> None:
    """Convert a file of blocks into its final kind, in place.

    Blocks of CSV are a CSV file already. Nothing can be appended to Parquet: its blocks are Arrow
    streams.
    """
    if kind != PARQUET:
        return
    whole = blocks.with_suffix(".whole")
    with pa.OSFile(str(blocks)) as file:
        size, writer = file.size(), None
        while file.tell() < size:
            with pa.ipc.open_stream(file) as stream:
                table = stream.read_all()
            if writer is None:
                words = [f.name for f in table.schema if pa.types.is_string(f.type)]
                writer = pq.ParquetWriter(whole, table.schema, use_dictionary=words or False)
            writer.write_table(table)
        if writer is not None:
            writer.close()
    whole.replace(blocks)


def _csv(table: pa.Table) -> bytes:
    """Lines without a header, with quotes where a value needs them."""
    plain = [
        column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
        for column in table.columns
    ]
    table = pa.table(plain, names=table.column_names)
    sink = pa.BufferOutputStream()
    style = {"include_header": False, "quoting_style": "none"}
    try:
        pyarrow.csv.write_csv(table, sink, pyarrow.csv.WriteOptions(**style))
        return sink.getvalue().to_pybytes()
    except pa.ArrowInvalid:  # a value holds a comma, a quote or a line's end
        texts = [column.cast(pa.string()).to_pylist() for column in table.columns]
        return _lines(zip(*texts, strict=True))
    except pa.ArrowNotImplementedError as error:
        raise UserError(f"CSV cannot hold what is in this file ({error}): use Parquet") from error


def _lines(rows: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _rechunked(batches: Iterator[pa.RecordBatch], rows: int, skip: int) -> Iterator[pa.Table]:
    held: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        rest = batch.slice(min(skip, len(batch)))
        skip -= len(batch) - len(rest)
        while count + len(rest) >= rows:
            yield pa.Table.from_batches([*held, rest.slice(0, rows - count)])
            rest = rest.slice(rows - count)
            held, count = [], 0
        if len(rest):
            held.append(rest)
            count += len(rest)
    if held:
        yield pa.Table.from_batches(held)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, UnicodeError, pa.ArrowException, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise UserError(f"{path}: cannot be read: {reason}") from error
