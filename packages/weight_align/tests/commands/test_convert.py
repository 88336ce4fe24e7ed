"""``convert``: what is kept of a trained network, every option of torchvision's networks, their files, and what is refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from torch import nn

from efficiency_core import network_file
from efficiency_core.errors import UsageError
from weight_align import is_aligned, weight_align
from weight_align.checkpoint import load_any, load_network, save_network
from weight_align.method import WeightAlignment, alignment_of
from weight_align.networks import Conversion, NetworkConfig, build_network, torchvision_network

Run = Callable[..., tuple[int, str, str]]
NAME, CLASSES, LAYERS = "squeezenet1_1", 7, 26


@pytest.fixture
def run(run: Run, tmp_path: Path) -> Run:
    """Convert to ``out.safetensors``."""
    return lambda *arguments: run("convert", *arguments, "--out", tmp_path / "out.safetensors")


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return save_plain(tmp_path / "plain.safetensors")


def save_plain(path: Path, **changes: Any) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_network(
            path, build_network(replace(NetworkConfig(5, "resnet18", width=4, norm="bn", align=False), **changes))
        )
    return path


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state of torchvision's SqueezeNet: 25 convolutions, and one for the classifier."""
    models = pytest.importorskip("torchvision").models
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(models.squeezenet1_1(num_classes=CLASSES).state_dict(), tmp_path / "state.pt")
    return tmp_path / "state.pt"


def from_state(state: Path) -> list[object]:
    return [state, "--network", NAME, "--classes", CLASSES]


def network_of(state: Path) -> nn.Module:
    return torchvision_network(NAME, CLASSES, torch.load(state, weights_only=True))


def alignments(network: nn.Module) -> dict[str, WeightAlignment]:
    return {name: found for name, layer in network.named_modules() if (found := alignment_of(layer)) is not None}


def refused(run: Run, out: Path, arguments: list[object], status: int = 2) -> str:
    """The one line that an error is."""
    before = out.read_bytes() if out.exists() else None
    code, printed, error = run(*arguments)
    assert code == status and not printed
    assert error.startswith("error: ") and error.count("\n") == 1
    assert (out.read_bytes() if out.exists() else None) == before
    return error


@pytest.mark.parametrize("arguments", [(), ("--keep", "weights")])
def test_what_is_kept(run: Run, plain: Path, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """All weights, but for the filters' means with ``function``, and but for their deviations, too, with ``weights``."""
    before = load_network(plain).network
    assert run(plain, *arguments)[0] == 0
    after = load_network(tmp_path / "out.safetensors").network
    found = alignments(after)
    assert len(found) == 20
    for name, alignment in found.items():
        weight = before.get_parameter(f"{name}.weight")
        assert torch.equal(after.get_parameter(f"{name}.parametrizations.weight.original"), weight)
        rows = weight.flatten(1) - weight.flatten(1).mean(1, keepdim=True)
        if "weights" in arguments:
            assert alignment.scale is not None and torch.equal(alignment.scale, torch.ones(len(weight)))
            rows = rows / (rows.var(1, correction=0, keepdim=True) * rows.shape[1] / 2).sqrt()
        torch.testing.assert_close(after.get_submodule(name).weight.flatten(1), rows, rtol=1e-4, atol=1e-6)  # type: ignore[operator, union-attr]
    others = {name: value for name, value in after.state_dict().items() if "parametrizations" not in name}
    state = before.state_dict()
    assert "bn1.running_var" in others and "fc.weight" in others
    assert all(torch.equal(value, state[name]) for name, value in others.items())


def test_converting_twice(run: Run, plain: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    assert run(plain)[0] == 0
    again = out.rename(tmp_path / "again.safetensors")
    assert "again.safetensors: is aligned already; fold it first" in refused(run, out, [again])
    assert run(plain)[0] == 0
    before = (tmp_path / "out.safetensors").read_bytes()
    assert run(plain)[0] == 0 and (tmp_path / "out.safetensors").read_bytes() == before


def test_a_file_is_not_converted_in_place(run: Run, tmp_path: Path) -> None:
    out = save_plain(tmp_path / "out.safetensors")
    assert "out.safetensors: is the input WEIGHTS, which --out would overwrite" in refused(run, out, [out])


def test_a_layer_that_cannot_be_aligned(run: Run, tmp_path: Path) -> None:
    """Width one: a shortcut's filters have one weight each."""
    thin = save_plain(tmp_path / "thin.safetensors", width=1)
    error = refused(run, tmp_path / "out.safetensors", [thin])
    assert "thin.safetensors: align needs width=2 or more in resnet18" in error


@pytest.mark.parametrize("option", [["--exclude", "conv1"], ["--classifier"]])
def test_options_that_are_for_torchvision(run: Run, plain: Path, tmp_path: Path, option: list[str]) -> None:
    assert "are for networks of torchvision" in refused(run, tmp_path / "out.safetensors", [plain, *option])


@pytest.mark.parametrize(("arguments", "changes"), [
    (["--classifier", "--gain", "nf", "--scale", "layer", "--keep", "weights"],
     {"classifier": True, "gain": "nf", "scale": "layer"}),
    (["--no-variance", "--scale", "none"], {"variance": False, "scale": "none"}),
    (["--no-centre", "--exclude", "features.3", "*.squeeze"],
     {"centre": False, "exclude": ("features.3", "*.squeeze")}),
])  # fmt: skip
def test_options(run: Run, state: Path, tmp_path: Path, arguments: list[str], changes: dict[str, Any]) -> None:
    """The file holds the network that ``weight_align`` makes with the same options."""
    status, printed, _ = run(*from_state(state), *arguments)
    assert status == 0
    before = torch.get_rng_state()
    saved = load_any(tmp_path / "out.safetensors")
    network, how = saved.network, saved.conversion
    assert torch.equal(torch.get_rng_state(), before) and not network.training
    assert how == replace(Conversion(NAME, CLASSES), **changes)
    keep: Any = "weights" if "weights" in arguments else "function"
    expected = weight_align(network_of(state), keep=keep, **changes)
    found, wanted = alignments(network), alignments(expected)
    assert list(found) == list(wanted)
    assert all(repr(found[name]) == repr(wanted[name]) for name in wanted)
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in expected.state_dict().items())
    assert all(
        torch.equal(network.get_submodule(name).weight, expected.get_submodule(name).weight)  # type: ignore[arg-type]
        for name in wanted
    )
    plain = "none" if "--classifier" in arguments else "classifier.1"
    assert printed.splitlines()[0] == f"aligned  {len(wanted)} layers"
    assert "--exclude" in arguments or printed.splitlines()[1] == f"plain    {plain}"
    assert len(wanted) == LAYERS - {"none": 0, "classifier.1": 1}[plain] - (10 if "--exclude" in arguments else 0)


def test_without_centring_outputs_stay_what_they_were(run: Run, state: Path, tmp_path: Path) -> None:
    assert run(*from_state(state), "--no-centre")[0] == 0
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found, expected = load_any(tmp_path / "out.safetensors").network(images), network_of(state)(images)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


def test_weights_by_name(run: Run, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = pytest.importorskip("torchvision").models.get_model_weights(NAME)
    monkeypatch.setattr(published, "get_state_dict", lambda *_, **__: torch.load(state, weights_only=True))
    arguments = ["IMAGENET1K_V1", "--network", NAME, "--classes", CLASSES]
    assert run(*arguments)[0] == 0
    assert is_aligned(load_any(tmp_path / "out.safetensors").network)

    def offline(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(published, "get_state_dict", offline)
    error = refused(run, tmp_path / "out.safetensors", arguments, status=1)
    assert f"weights IMAGENET1K_V1 of {NAME} cannot be downloaded" in error and "no route to host" in error


@pytest.mark.parametrize(("arguments", "message"), [
    (["--exclude", "features.3", "fc"], "exclude: 'fc' matches no module of "),
    (["--scale", "none"], "--scale none cannot keep each filter's deviation; add --keep weights"),
    (["--classes", "8"], f"the weights do not fit {NAME} with 8 classes"),
    (["--classes", "0"], "classes must be 1 or more, got 0"),
    (["--network", "squeezenet9"], "torchvision has no network 'squeezenet9'"),
    (["--network", "r3d_18"], "torchvision has no network 'r3d_18' that classifies images or their pixels"),
])  # fmt: skip
def test_what_is_refused(run: Run, state: Path, tmp_path: Path, arguments: list[object], message: str) -> None:
    assert message in refused(run, tmp_path / "out.safetensors", [*from_state(state), *arguments])


def test_weights_that_are_refused(run: Run, state: Path, plain: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    options = ["--network", NAME, "--classes", CLASSES]
    torch.save([1, 2], tmp_path / "list.pt")
    for weights, message in (
        (tmp_path / "none.pt", "none.pt: no such file"),
        (tmp_path / "list.pt", "list.pt: expected a dictionary of tensors, got list"),
        (plain, f"the weights do not fit {NAME} with 7 classes"),
        ("V9", f"weights of {NAME} must be a file or one of IMAGENET1K_V1, got 'V9'"),
    ):
        assert message in refused(run, out, [weights, *options])
    assert run(state, *options)[0] == 0
    again = out.rename(tmp_path / "again.safetensors")
    assert "again.safetensors: is aligned already; fold it first" in refused(run, out, [again, *options])
    assert "again.safetensors: a network of another kind (format 'weight_align.converted/2'" in refused(
        run, out, [again]
    )


def test_layers_that_cannot_be_aligned(run: Run, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 1), nn.Linear(4, 2))
    monkeypatch.setattr("weight_align.commands.convert.torchvision_network", lambda *_: network)
    error = refused(run, tmp_path / "out.safetensors", from_state(state))
    assert "0 cannot be aligned: its filters have one weight each" in error and "name it in exclude" in error


def test_files_that_are_damaged(run: Run, state: Path, tmp_path: Path) -> None:
    path = tmp_path / "out.safetensors"
    assert run(*from_state(state))[0] == 0
    file = network_file.load_network(path, "weight_align.converted/2")
    for config, weights, message in (
        ({"network": NAME, "classes": CLASSES}, file.state, "written by another version of this package"),
        (file.config, {}, "its weights do not fit its own configuration .*; the file is damaged"),
    ):
        network_file.save_network(path, file.format, config, {}, weights)
        with pytest.raises(UsageError, match=message):
            load_any(path)


def test_networks_for_pixels_are_made_without_a_download(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torchvision")

    def load(url: str, *_: object, **__: object) -> None:
        raise AssertionError(f"{url} was asked for")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", load)
    with torch.device("meta"):
        network = torchvision_network("lraspp_mobilenet_v3_large", 5)
    assert {name.partition(".")[0] for name, _ in network.named_parameters()} == {"backbone", "classifier"}


@pytest.mark.slow
@pytest.mark.parametrize("auxiliary", [False, True])
@pytest.mark.parametrize(
    ("name", "switch", "shape"),
    [("googlenet", "aux_logits", (1, 3, 64, 64)), ("deeplabv3_mobilenet_v3_large", "aux_loss", (1, 3, 32, 32))],
)
def test_auxiliary_classifiers_are_as_the_state_has_them(
    run: Run, tmp_path: Path, name: str, switch: str, shape: tuple[int, ...], auxiliary: bool
) -> None:
    """Weights that torchvision publishes have them, fine-tuned networks often not."""
    models = pytest.importorskip("torchvision").models
    options = {switch: auxiliary} | ({"init_weights": False} if name == "googlenet" else {"weights_backbone": None})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = models.get_model(name, weights=None, num_classes=3, **options).eval()
    torch.save(network.state_dict(), tmp_path / "state.pt")
    arguments = [tmp_path / "state.pt", "--network", name, "--classes", 3, "--no-centre"]
    status, _, error = run(*arguments)
    assert status == 0, error
    found = load_any(tmp_path / "out.safetensors").network
    assert any(name.startswith("aux") for name, _ in found.named_parameters()) == auxiliary
    images = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before, after = network(images), found(images)
    for key in before if isinstance(before, dict) else [None]:
        wanted, got = (before, after) if key is None else (before[key], after[key])
        torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-4 * float(wanted.abs().max()))
