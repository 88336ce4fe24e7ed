"""A folded network is a plain one: it runs the same operations and keeps nothing of the alignment."""

import copy
import pickle
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from weight_align import fold, weight_align
from weight_align.method import alignment_of
from weight_align.networks import Network, NetworkConfig, build_network

CONFIG = NetworkConfig(5, "resnet18", width=4, norm="bn")


def built(**changes: Any) -> Network:
    """An aligned network in eval mode whose scales are not one and whose last layer is not zero."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_network(replace(CONFIG, **changes)).eval()
        for layer in network.modules():
            found = alignment_of(layer)
            if found is not None and found.scale is not None:
                nn.init.uniform_(found.scale, 0.5, 2)
        for parameter in network.parameters():
            if not parameter.any():
                nn.init.normal_(parameter, std=0.1)
    return network


def images() -> Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


class Operations(TorchDispatchMode):
    """Notes every operation that is run, with the shapes of its tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, list[tuple[int, ...]]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append((str(func), [tuple(value.shape) for value in args if isinstance(value, Tensor)]))
        return func(*args, **(kwargs or {}))


def operations(network: nn.Module, train: bool) -> list[tuple[str, list[tuple[int, ...]]]]:
    network.train(train).zero_grad()
    with Operations() as mode, torch.set_grad_enabled(train):
        output = network(images())
        if train:
            output.square().sum().backward()
    return mode.seen


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("together", [False, True])
def test_it_runs_the_operations_of_a_plain_one(train: bool, together: bool) -> None:
    """And so costs what that does."""
    plain = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.ConvTranspose2d(8, 6, 2, groups=2), nn.ReLU(), nn.Flatten(1)
    )
    plain.append(nn.Linear(6 * 31**2, 4))
    expected = operations(plain, train)
    network = weight_align(copy.deepcopy(plain), classifier=True, together=together)
    assert len(operations(network, train)) > len(expected)
    assert operations(fold(network), train) == expected


def test_nothing_of_the_alignment_is_left() -> None:
    """No parameter, no hook, no attribute, no class that a network without it has not."""
    network = fold(built(norm="none"))
    with torch.random.fork_rng():
        plain = build_network(replace(network.config, align=False))
    found, expected = dict(network.named_modules()), dict(plain.named_modules())
    assert list(found) == list(expected)
    for name, module in found.items():
        assert type(module) is type(expected[name])
        hooks = {key: value for key, value in vars(module).items() if "hooks" in key}
        assert not any(hooks.values()) and set(vars(module)) == set(vars(expected[name]))
        assert list(module._parameters) == list(expected[name]._parameters)
    shapes = ({name: value.shape for name, value in each.named_parameters()} for each in (network, plain))
    assert next(shapes) == next(shapes)


def test_it_goes_on_as_a_plain_one_with_its_state() -> None:
    """Copied, pickled, under autocast, and trained."""
    network = fold(built())
    with torch.random.fork_rng():
        plain = build_network(replace(CONFIG, align=False)).eval()
    plain.load_state_dict(network.state_dict())
    expected = plain(images())
    for other in (network, copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert torch.equal(other(images()), expected)
    with torch.autocast("cpu", torch.bfloat16):
        found, wanted = network(images()), plain(images())
    assert found.dtype == wanted.dtype and torch.equal(found, wanted)
    for _ in range(2):
        for each in (network, plain):
            each.train().zero_grad()
            each(images()).square().sum().backward()
            with torch.no_grad():
                for parameter in each.parameters():
                    parameter.sub_(1e-3 * parameter.grad)  # type: ignore[operator]
    state = plain.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
