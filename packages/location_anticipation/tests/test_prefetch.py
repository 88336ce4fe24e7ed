"""prefetch: order, bound, errors, and a thread that has always ended afterwards."""

import gc
import threading
import time
import weakref
from collections.abc import Iterator

import pytest

from location_anticipation.prefetch import prefetch


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert "prefetch" not in [thread.name for thread in threading.enumerate()]


def settled(values: list[int]) -> int:
    """Length of a list that a thread appends to, once that has stopped growing."""
    length = -1
    while length != len(values):
        length = len(values)
        time.sleep(0.05)
    return length


@pytest.mark.parametrize("ahead", [1, 3, 100])
@pytest.mark.parametrize("count", [0, 1, 10])
def test_all_items_in_order(count: int, ahead: int) -> None:
    with prefetch(range(count), ahead) as items:
        assert list(items) == list(range(count))


@pytest.mark.parametrize("ahead", [1, 4])
def test_takes_so_many_items_ahead_and_no_more(ahead: int) -> None:
    taken: list[int] = []

    def numbers() -> Iterator[int]:
        for k in range(50):
            taken.append(k)
            yield k

    with prefetch(numbers(), ahead) as items:
        assert settled(taken) == ahead
        for done in range(1, 6):
            next(items)
            assert settled(taken) == ahead + done


def test_items_are_made_beside_the_callers_work() -> None:
    def slow() -> Iterator[int]:
        for k in range(10):
            time.sleep(0.02)
            yield k

    started = time.perf_counter()
    with prefetch(slow(), 4) as items:
        for _ in items:
            time.sleep(0.02)
    assert time.perf_counter() - started < 0.35  # 0.4 one after the other, 0.22 side by side


def test_an_error_comes_where_its_item_would_have_come() -> None:
    def failing() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("the disk is gone")

    got = []
    with pytest.raises(OSError, match="the disk is gone"), prefetch(failing(), 5) as items:
        for item in items:
            got.append(item)
    assert got == [1, 2]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, None])
def test_leaving_early_ends_the_thread(error: type[BaseException] | None) -> None:
    def endless() -> Iterator[int]:
        k = 0
        while True:
            yield k
            k += 1

    try:
        with prefetch(endless(), 3) as items:
            assert next(items) == 0
            if error is not None:
                raise error
    except (ValueError, KeyboardInterrupt) as caught:
        assert type(caught) is error


def test_items_are_not_kept() -> None:
    class Item:
        pass

    alive: weakref.WeakSet[Item] = weakref.WeakSet()

    def stream() -> Iterator[Item]:
        for _ in range(100):
            item = Item()
            alive.add(item)
            yield item
            del item

    most = 0
    with prefetch(stream(), 4) as items:
        for item in items:
            most = max(most, len(alive))
            del item
    assert most <= 6
    gc.collect()
    assert len(alive) == 0


def test_refuses_no_items_ahead() -> None:
    with pytest.raises(ValueError, match="ahead must be at least 1"), prefetch([], 0):
        pass
