"""Benchmarks know which machine they ran on, and a comparison across machines says so."""

from typing import Any

import pytest
import torch

from efficiency_bench.devices import describe_device, resolve_device

_DECISIVE = ("device_type", "device_name", "threads", "torch")


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """pytest-benchmark records the operating system and Python; the device and torch matter more here."""
    device = describe_device(resolve_device("auto"))
    machine_info |= {
        "device_type": device["type"],
        "device_name": device["name"],
        "threads": device["threads"],
        "torch": torch.__version__,
    }


def pytest_benchmark_compare_machine_info(
    config: pytest.Config,
    benchmarksession: Any,
    machine_info: dict[str, Any],
    compared_benchmark: dict[str, Any],
) -> None:
    """Replaces pytest-benchmark's own notice, which dumps both dictionaries."""
    there = compared_benchmark["machine_info"]
    odd = [
        f"{key} {there.get(key)!r} there, {machine_info[key]!r} here"
        for key in _DECISIVE
        if there.get(key) != machine_info[key]
    ]
    if odd:
        benchmarksession.logger.warning(
            "The baseline was taken on another kind of machine (%s): its times are no measure for this one. "
            "Compare extra_info (multiply-adds, bytes), or take a baseline here with --benchmark-autosave.",
            "; ".join(odd),
        )


@pytest.fixture(scope="session")
def device() -> torch.device:
    return resolve_device("auto")
