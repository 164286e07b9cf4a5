"""Work shared among threads so that the result does not depend on how many there are."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numba


def each(task: Callable[[int], None], count: int) -> None:
    """Runs task(0), task(1), … on as many threads as numba uses; each writes its own part of the result."""
    with ThreadPoolExecutor(numba.get_num_threads()) as pool:
        list(pool.map(task, range(count)))
