"""Taking items before they are asked for, in a thread: decoding while the network works."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")
_END: Any = object()


@contextmanager
def prefetch(items: Iterable[T], ahead: int) -> Iterator[Iterator[T]]:
    """An iterator over ``items``; a thread of its own takes up to ``ahead`` >= 1 items before they are asked for.

    For items whose making releases Python's lock, as PyAV's decoders do. An exception of ``items`` is raised where its
    item would have come. When the block ends, however it does, the thread has ended too, after the item it was at.
    """
    source = iter(items)
    pool = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
    coming = deque(pool.submit(next, source, _END) for _ in range(ahead))

    def taking() -> Iterator[T]:
        while (item := coming.popleft().result()) is not _END:
            coming.append(pool.submit(next, source, _END))
            yield item
            del item  # not to be kept while waiting

    try:
        yield taking()
    finally:
        pool.shutdown(cancel_futures=True)
