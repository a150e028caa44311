"""Work on spans of an array in several threads, for compiled code that releases the interpreter."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import count

import torch

# Spans per thread, so that a thread that is held up doesn't hold up the rest.
SPANS_PER_THREAD = 4


def for_each_span(work: Callable[[int, int], None], total: int, grain: int = 1) -> None:
    """Call ``work(start, stop)`` until 0 to `total` is covered, in up to `torch.get_num_threads` threads.

    Parameters
    ----------
    work : callable
        Works on the items `start` to `stop`, independent of all others.
    total : int
        Number of items.
    grain : int
        Fewest items that are worth a thread.
    """
    threads = min(torch.get_num_threads(), total // max(grain, 1))
    if threads <= 1:
        work(0, total)
        return
    span = -(-total // (SPANS_PER_THREAD * threads))
    turns = count()
    helpers = [_pool(threads - 1).submit(_work_through, work, turns, span, total) for _ in range(threads - 1)]
    _work_through(work, turns, span, total)
    for helper in helpers:
        helper.result()


def _work_through(work: Callable[[int, int], None], turns: Iterator[int], span: int, total: int) -> None:
    # next() of one shared counter is atomic, so no two threads get the same span.
    while (start := next(turns) * span) < total:
        work(start, min(start + span, total))


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="span")


# A forked process (a data loader's worker) has none of its parent's threads: it makes its own pool when it needs one.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)
