"""``fold``: what it compares, writes and refuses; and that a folded network is, and costs, what a plain one does."""

import copy
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from weight_align import fold, is_aligned, weight_align
from weight_align.checkpoint import load_network, save_network
from weight_align.networks import Network, NetworkConfig, build_network
from weight_align.parametrization import alignment_of

pytestmark = pytest.mark.usefixtures("one_thread")
Run = Callable[..., tuple[int, str, str]]
CONFIG = NetworkConfig(5, width=4, norm="bn", align=True)


@pytest.fixture
def run(run: Run) -> Run:
    """The command on the CPU."""
    return lambda *arguments: run(*arguments, "--device", "cpu")


def built(**changes: Any) -> Network:
    """An aligned network in eval mode whose scales are not one and whose last layer is not zero."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_network(replace(CONFIG, **changes)).eval()
        learn(network)
        for parameter in network.parameters():
            if not parameter.any():
                nn.init.normal_(parameter, std=0.1)
    return network


def learn(network: nn.Module) -> None:
    for layer in network.modules():
        found = alignment_of(layer)
        if found is not None and found.scale is not None:
            nn.init.uniform_(found.scale, 0.5, 2)


def images(size: int = 32) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


def one_line(error: str) -> str:
    assert error.startswith("error: ") and error.count("\n") == 1
    return error


# The command


@pytest.mark.parametrize(
    "changes",
    [
        {"norm": "none"},
        {"norm": "gn", "stem": "imagenet", "backbone": "resnet50"},
        {"norm": "none", "backbone": "vgg16", "gain": "nf"},
        {"scale": "layer", "centre": False},
        {"scale": "none", "variance": False},
    ],
)
def test_networks_of_every_kind(run: Run, tmp_path: Path, changes: dict[str, Any]) -> None:
    network = built(**changes)
    save_network(tmp_path / "network.pt", network, {"class_names": list("abcde")})
    status, printed, _ = run("fold", tmp_path / "network.pt", "--out", tmp_path / "folded.pt")
    assert status == 0 and float(printed.splitlines()[1].split()[1]) <= 1e-6
    folded = load_network(tmp_path / "folded.pt")
    assert folded.facts == {"class_names": list("abcde")} and not is_aligned(folded.network)
    assert folded.network.config == replace(network.config, align=False, fixup=network.config.fixed_up)
    size = 32 if network.config.stem == "cifar" else 64
    before = network(images(size))
    assert before.abs().max() > 0 and torch.equal(folded.network(images(size)), before)


def test_folding_twice(run: Run, tmp_path: Path) -> None:
    """In place, so that the second time finds what the first has written."""
    path, state = tmp_path / "network.pt", tmp_path / "state.pt"
    save_network(path, built())
    assert run("fold", path, "--out", state, "--state")[0] == 0
    assert run("fold", path, "--out", path)[0] == 0
    for folded, message in (
        (path, "network.pt: has no aligned layer; was it folded before?"),
        (state, "state.pt: a checkpoint of another kind (format None"),
    ):
        before = folded.read_bytes()
        status, printed, error = run("fold", folded, "--out", folded)
        assert status == 2 and not printed and message in one_line(error)
        assert folded.read_bytes() == before


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize(("change", "written"), [(0.0, True), (4e-6, True), (1e-3, False), (-1.0, False)])
def test_a_fold_that_changes_outputs_is_not_written(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: float, change: float, written: bool
) -> None:
    """What counts is the change relative to the largest output, whatever the size of that is."""
    network, out = built(), tmp_path / "out.pt"

    def times(network: Network, factor: float) -> Network:
        with torch.no_grad():
            for parameter in network.get_submodule("fc").parameters():
                parameter.mul_(factor)
        return network

    save_network(tmp_path / "network.pt", times(network, size))
    monkeypatch.setattr("weight_align.folding.fold", lambda network: times(fold(network), 1 + change))
    status, printed, error = run("fold", tmp_path / "network.pt", "--out", out)
    assert (status, out.exists()) == ((0, True) if written else (1, False))
    if written:
        assert abs(float(printed.splitlines()[1].split()[1]) - change) < 3e-7
    else:
        expected = f"network.pt: folding changed the outputs by {abs(change):.1e} of the largest, not written"
        assert expected in one_line(error)


def test_a_network_whose_outputs_are_not_finite_is_not_written(run: Run, tmp_path: Path) -> None:
    network = built()
    nn.init.constant_(network.fc.bias, torch.nan)  # type: ignore[arg-type, union-attr]
    save_network(tmp_path / "network.pt", network)
    status, _, error = run("fold", tmp_path / "network.pt", "--out", tmp_path / "out.pt")
    assert status == 1 and "changed the outputs by nan" in one_line(error) and not (tmp_path / "out.pt").exists()


@pytest.mark.parametrize("name", ["squeezenet1_1", pytest.param("lraspp_mobilenet_v3_large", marks=pytest.mark.slow)])
def test_networks_of_torchvision_are_written_as_their_state(run: Run, tmp_path: Path, name: str) -> None:
    """Of one that gives a dictionary of scores of pixels, too."""
    models = pytest.importorskip("torchvision").models
    options = {"weights_backbone": None} if name.startswith("lraspp") else {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = models.get_model(name, weights=None, num_classes=3, **options).eval()
    start, aligned, folded = (tmp_path / f"{each}.pt" for each in ("start", "aligned", "folded"))
    torch.save(network.state_dict(), start)
    arguments = ["--network", name, "--classes", "3", "--no-centre"]
    assert run("convert", start, *arguments, "--out", aligned)[0] == 0
    status, printed, _ = run("fold", aligned, "--out", folded)
    assert status == 0 and float(printed.splitlines()[1].split()[1]) <= 1e-6
    state = network.state_dict()
    found = torch.load(folded, weights_only=True)
    assert list(found) == list(state)
    for key, value in found.items():
        torch.testing.assert_close(value, state[key], rtol=1e-4, atol=1e-6)
    status, _, error = run("fold", folded, "--out", folded)
    assert status == 2 and "folded.pt: a checkpoint of another kind" in one_line(error)


# A folded network is a plain one


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


@pytest.mark.parametrize("backbone", ["resnet18", "vgg16"])
def test_nothing_of_the_alignment_is_left(backbone: Any) -> None:
    """No parameter, no hook, no attribute, no class that a network without it has not."""
    network = fold(built(backbone=backbone, norm="none"))
    with torch.random.fork_rng():
        plain = build_network(replace(network.config, align=False))
    found, expected = dict(network.named_modules()), dict(plain.named_modules())
    assert list(found) == list(expected)
    for name, module in found.items():
        assert type(module) is type(expected[name])
        hooks = {key: value for key, value in vars(module).items() if "hooks" in key}
        assert not any(hooks.values()) and set(vars(module)) == set(vars(expected[name]))
        assert list(module._parameters) == list(expected[name]._parameters)
    assert {name: value.shape for name, value in network.named_parameters()} == {
        name: value.shape for name, value in plain.named_parameters()
    }


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


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5", "efficientnet_b0"])
def test_networks_of_torchvision_whose_scales_have_learned(name: str) -> None:
    """Each weight is bit for bit what the alignment made of it, also where little of it is seen in the outputs."""
    models = pytest.importorskip("torchvision").models
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = weight_align(models.get_model(name, weights=None, num_classes=11)).eval()
        learn(network)
    weights = {key: layer.weight.clone() for key, layer in network.named_modules() if alignment_of(layer) is not None}  # type: ignore[operator, union-attr]
    with torch.no_grad():
        before = network(images(64))
        fold(network)
        change = (network(images(64)) - before).abs().max() / before.abs().max()
    assert before.isfinite().all() and before.any() and change <= 1e-6
    assert all(torch.equal(network.get_parameter(f"{key}.weight"), weight) for key, weight in weights.items())
