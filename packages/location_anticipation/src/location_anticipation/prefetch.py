"""Work on items to come while the caller works on the one at hand: decoding beside the network."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")

__all__ = ["prefetch"]


class _End:
    """The last thing in the queue: the items are over, or getting the next one failed."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


@contextmanager
def prefetch(items: Iterable[T], ahead: int) -> Iterator[Iterator[T]]:
    """An iterator over ``items``, which a thread of its own takes up to ``ahead`` items before they are asked for.

    For items whose making releases Python's lock, as PyAV's decoders do. An exception of ``items`` is raised where its
    item would have come. When the block ends, however it does, the thread has ended too, after the item it was at.

    Raises:
        ValueError: if ``ahead`` is below 1.
    """
    if ahead < 1:
        raise ValueError(f"ahead must be at least 1, got {ahead}")
    queue: SimpleQueue[T | _End] = SimpleQueue()
    room = threading.Semaphore(ahead - 1)
    stopped = threading.Event()

    def work() -> None:
        try:
            for item in items:
                queue.put(item)
                del item  # not to be kept alive while waiting
                room.acquire()
                if stopped.is_set():
                    return
        except BaseException as error:
            queue.put(_End(error))
        else:
            queue.put(_End())

    def taking() -> Iterator[T]:
        while True:
            item = queue.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            room.release()
            yield item
            del item

    thread = threading.Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    try:
        yield taking()
    finally:
        stopped.set()
        room.release()
        thread.join()
