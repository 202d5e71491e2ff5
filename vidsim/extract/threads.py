"""Threads that decode clips."""

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager


@contextmanager
def decoding_threads(workers: int) -> Generator[ThreadPoolExecutor]:
    """Lend threads in which torch starts none of its own; after an error those that wait never start.

    Parameters
    ----------
    workers : int
        Threads, at least 1.

    Yields
    ------
    ThreadPoolExecutor
        Submit to it here.
    """
    import torch

    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(workers, "decode", initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)  # the decoding threads have set what later threads begin with
