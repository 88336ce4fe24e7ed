"""prefetch: order, bound, errors, and a thread that has always ended afterwards."""

import gc
import threading
import weakref
from collections.abc import Iterator
from itertools import count

import pytest

from location_anticipation.inference.prefetch import prefetch


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("prefetch")]


@pytest.mark.parametrize("ahead", [1, 3, 100])
@pytest.mark.parametrize("number", [0, 1, 10])
def test_all_items_in_order(number: int, ahead: int) -> None:
    with prefetch(range(number), ahead) as items:
        assert list(items) == list(range(number))


@pytest.mark.parametrize("ahead", [1, 4])
def test_takes_so_many_items_ahead_and_no_more(ahead: int) -> None:
    asked = 0
    taken = [threading.Event() for _ in range(50)]

    def numbers() -> Iterator[int]:
        for k in range(50):
            assert k < asked + ahead, "taken too early"
            taken[k].set()
            yield k

    with prefetch(numbers(), ahead) as items:
        for k in range(20):
            assert taken[k + ahead - 1].wait(30), "not taken ahead"
            asked = k + 1
            assert next(items) == k


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
    try:
        with prefetch(count(), 3) as items:
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
