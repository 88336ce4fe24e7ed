"""A training computes once what layers that are not trained make of every image."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from outlier_matching import NetworkConfig, TrainConfig, Trained, build_network, train
from outlier_matching.data.hdf5_set import HDF5ImageSet
from outlier_matching.data.image_set import select
from outlier_matching.networks.network import MatchingNetwork

Write = Callable[..., Path]


@pytest.mark.parametrize("trained", ["thesis", "fc"])
def test_fixed_layers_are_computed_once(
    write_images: Write, tmp_path: Path, trained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With features that memory holds, and from pixels for every step: the same up to rounding."""
    images = HDF5ImageSet(write_images())
    data = select(images, domain=0, outliers=False), select(images, domain=1)
    sizes: dict[str, Any] = {"backbone": "small", "embedding": 8, "width": 16, "size": 24, "dropout": 0.0}
    weights = str(tmp_path / "first.pt")
    torch.save(build_network(NetworkConfig(**sizes, trained="all"), None).state_dict(), weights)
    seen: list[int] = []
    whole = MatchingNetwork.fixed_features

    def counted(self: MatchingNetwork, images: Tensor, domain: int = 0) -> Tensor:
        seen.append(len(images))
        return whole(self, images, domain)

    def fit(folder: str, **changes: Any) -> Trained:
        recipe = {"epochs": 3, "batch": 8, "learning_rate": 1e-4, "weights": weights} | changes
        return train(*data, NetworkConfig(**sizes, trained=trained), TrainConfig(**recipe), tmp_path / folder)

    monkeypatch.setattr(MatchingNetwork, "fixed_features", counted)
    kept = fit("kept")
    assert sum(seen) == 1 + sum(map(len, data)), "one image for the size, then each image once"
    seen.clear()
    read = fit("read", resident_gb=0.0)
    assert not seen
    for one, other in zip(kept.losses, read.losses, strict=True):
        assert one.total == pytest.approx(other.total, rel=1e-3)
    states = (kept.network.state_dict(), read.network.state_dict())
    for name, value in states[0].items():
        torch.testing.assert_close(value, states[1][name], rtol=1e-2, atol=1e-3)
    fit("short", steps=1, epochs=1)
    assert not seen, "a training that shows fewer images than there are computes them as they come"
