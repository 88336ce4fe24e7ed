"""Trainings of a run on several devices.

Their number is not part of a run's id: the numbers are the same up to rounding, and up to random draws inside the network.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


def with_devices(settings: Mapping[str, Any], devices: int) -> dict[str, Any]:
    """Nested settings in which every training (a group with `devices`) takes so many, but no more than its batch has samples;
    with 1, those given."""
    if devices == 1:
        return dict(settings)
    inside: dict[str, Any] = {
        name: with_devices(value, devices) if isinstance(value, Mapping) else value for name, value in settings.items()
    }
    if "devices" in inside:
        inside["devices"] = min(devices, inside["batch_size" if "batch_size" in inside else "batch"])
    return inside


def most_devices(settings: Mapping[str, Any]) -> int:
    """The most devices that a training of nested settings takes; 1 where nothing is trained."""
    inside = [most_devices(value) for value in settings.values() if isinstance(value, Mapping)]
    return max([*inside, settings.get("devices", 1)])


@contextmanager
def threads_divided(devices: int) -> Iterator[None]:
    """Inside, each process of a training on so many devices has its part of the threads that this process has."""
    import torch

    before, threads = os.environ.get("OMP_NUM_THREADS"), torch.get_num_threads()
    each = max(1, threads // devices)
    os.environ["OMP_NUM_THREADS"] = str(each)  # of the processes that a training starts
    torch.set_num_threads(each)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        del os.environ["OMP_NUM_THREADS"]
        if before is not None:
            os.environ["OMP_NUM_THREADS"] = before
