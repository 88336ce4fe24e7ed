"""A training whose contrastive loss stays at the plateau says so."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from efficiency_core.loop import Accelerator
from outlier_matching import NetworkConfig, TrainConfig, build_network, train
from outlier_matching.data.hdf5_set import HDF5ImageSet
from outlier_matching.data.image_set import select
from outlier_matching.training.task import MatchingTask

NETWORK = NetworkConfig("small", embedding=8, width=16, trained="all", size=24)


@pytest.mark.parametrize(("means", "told"), [
    ([0.5] * 2, 0), ([0.5, 0.48, 0.51], 1), ([1.0] * 7, 1), ([0.5, 0.5, 0.47, 0.5, 0.5], 0), ([0.5, 0.4, 0.5, 0.5, 0.5], 1),
    ([0.1] * 9, 0),
])  # fmt: skip
def test_a_plateau_of_a_hundred_steps_is_told_once(
    write_images: Callable[..., Path], caplog: pytest.LogCaptureFixture, means: list[float], told: int
) -> None:
    """At margin 2 all pairs are at the same distance where the contrastive loss is 0.5; an epoch has 40 steps."""
    config = TrainConfig(method="siamese", margin=2.0, batch=8, steps=40, epochs=9)
    source = HDF5ImageSet(write_images())
    with Accelerator("cpu", config) as accelerator:
        task = MatchingTask(accelerator, build_network(NETWORK), source, None, config)
        for epoch, mean in enumerate(means):
            task.end_epoch(epoch, [mean, 0.0, 0.0, mean])
            other = MatchingTask(accelerator, task.model, source, None, config)  # as a continued training does
            other.load(task.state())
            task = other
    assert [f"contrastive loss is {means[-1]:.4f}" in message for message in caplog.messages] == [True] * told


def test_a_training_that_learns_nothing_is_told(
    tmp_path: Path, write_images: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    source = select(HDF5ImageSet(write_images()), domain=0)
    source.image = lambda number: torch.full((3, 24, 24), 9, dtype=torch.uint8)  # type: ignore[method-assign]
    train(source, None, NETWORK, TrainConfig(method="siamese", batch=8, epochs=2, steps=50), tmp_path / "run")
    assert len(caplog.messages) == 1 and "margin^2 / 8 = 0.1250" in caplog.messages[0]
