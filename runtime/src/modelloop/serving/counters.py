"""Counters in shared memory, which all workers add to and each of them can read.

Each worker has a row of its own: none waits for another, and nothing is lost when one ends, for the
next worker counts on in its row.
"""

import mmap
import os

import numpy as np

ROWS = 256  # more than there are ever workers, old and new; an unused row takes no memory
SIZE = 8  # bytes of a float64 (exact for whole numbers up to 2**53), and of an int64


class SharedCounters:
    """Rows of `width` float64 numbers, 0 at first; made before the workers are forked.

    Attributes:
        own: this process's row for one number at a time.
        own_array: the same memory for many at once, of shape (width,).
    """

    def __init__(self, width: int) -> None:
        """Reserve the memory, and count in the first row until another is taken."""
        self._width = width
        self._memory = mmap.mmap(-1, ROWS * (1 + width) * SIZE)
        self._pids = np.frombuffer(self._memory, np.int64, ROWS)
        self._rows = np.frombuffer(self._memory, np.float64, offset=ROWS * SIZE)
        self._rows = self._rows.reshape(ROWS, width)
        self.take(0)

    def take(self, row: int) -> None:
        """Count in this row from now on; no other living process may."""
        start = (ROWS + row * self._width) * SIZE
        self.own = memoryview(self._memory)[start : start + self._width * SIZE].cast("d")
        self.own_array = self._rows[row]
        self._pids[row] = os.getpid()

    @property
    def pids(self) -> list[int]:
        """The processes that count, and those that ended and were not replaced."""
        return self._pids[self._pids > 0].tolist()

    def totals(self) -> np.ndarray:
        """The sums over all rows, of shape (width,)."""
        return self._rows[self._pids > 0].sum(axis=0)
