"""Networks that start from the weights of other networks."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from weight_align import fold, is_aligned, weight_align
from weight_align.method import alignment_of
from weight_align.networks import Network, NetworkConfig

Build = Callable[..., Network]
Draw = Callable[..., Tensor]
SMALL = NetworkConfig(5, "resnet18", width=4, align=False)


def test_weights_of_the_same_network(built: Build, images: Draw) -> None:
    for changes in ({}, {"norm": "bn", "align": True}, {"backbone": "vgg16", "align": True, "scale": "none"}):
        config = replace(SMALL, **changes)  # type: ignore[arg-type]
        saved = built(config, seed=3).eval()
        assert torch.equal(built(config, saved.state_dict()).eval()(images()), saved(images()))
    config = replace(SMALL, norm="gn", align=True)
    saved = built(config, seed=3)
    for layer in saved.modules():
        found = alignment_of(layer)
        if found is not None and found.scale is not None:
            nn.init.uniform_(found.scale, 0.5, 2)
    before = saved(images())
    other = built(config, fold(saved).state_dict())
    torch.testing.assert_close(other(images()), before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backbone", ["vgg16", "resnet18"])
@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_another_number_of_classes(built: Build, images: Draw, backbone: Any, stem: Any) -> None:
    config = NetworkConfig(5, backbone, stem, width=2, norm="bn")
    saved = built(config, seed=3).eval()
    other = built(replace(config, classes=9), saved.state_dict()).eval()
    fresh = built(replace(config, classes=9)).eval()
    assert torch.equal(other.forward_features(images(2, 64)), saved.forward_features(images(2, 64)))
    head = "fc.weight" if backbone == "resnet18" else "classifier.weight" if stem == "cifar" else "classifier.6.weight"
    assert torch.equal(other.state_dict()[head], fresh.state_dict()[head])


@pytest.mark.parametrize("backbone", ["vgg16", "resnet18"])
def test_weights_without_a_classifier(built: Build, images: Draw, backbone: Any) -> None:
    config = NetworkConfig(5, backbone, width=2, norm="bn")
    saved, fresh = built(config, seed=3).eval(), built(config).state_dict()
    heads = ("fc.", "classifier.")
    features = {name: value for name, value in saved.state_dict().items() if not name.startswith(heads)}
    other = built(config, features).eval()
    assert torch.equal(other.forward_features(images(2, 64)), saved.forward_features(images(2, 64)))
    assert all(torch.equal(value, fresh[name]) for name, value in other.state_dict().items() if name.startswith(heads))
    part = {
        name: value for name, value in saved.state_dict().items() if not name.endswith(("fc.bias", "classifier.bias"))
    }
    with pytest.raises(ValueError, match=r"they lack '(fc|classifier)\.bias'"):
        built(config, part)


def test_plain_weights_start_an_aligned_network(built: Build, images: Draw) -> None:
    """Thesis 5.4.3: a trained BN network is fine-tuned with WA. Each filter keeps its standard deviation."""
    plain = built(replace(SMALL, norm="bn"), seed=3)
    aligned = built(replace(SMALL, norm="bn", align=True), plain.state_dict())
    assert is_aligned(aligned)
    expected = weight_align(copy.deepcopy(plain), keep="function")
    torch.testing.assert_close(aligned.eval()(images()), expected.eval()(images()))
    # In training mode batch norm divides by whatever the scale is, so only the means of filters matter.
    one = built(replace(SMALL, norm="bn", align=True, scale="none"), plain.state_dict())
    torch.testing.assert_close(one.train()(images()), aligned.train()(images()), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(("config", "other", "message"), [
    ({"norm": "bn"}, {}, r"do not fit the network: they lack 'bias1'"),
    ({"norm": "bn"}, {"norm": "gn"}, r"they have 'bn1.running_mean', which the network lacks \(60 such entries\)"),
    ({}, {"width": 8}, r"they have 'conv1.weight' as \(4, 3, 3, 3\), not \(8, 3, 3, 3\)"),
])  # fmt: skip
def test_weights_that_do_not_fit(built: Build, config: dict[str, Any], other: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        built(replace(SMALL, **other), built(replace(SMALL, **config)).state_dict())
