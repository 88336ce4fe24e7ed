"""Counts by hand, and what their comparison with a file says."""

import json
import sys
from functools import partial

import pytest
import torch
from torch import nn

from efficiency_bench.measure import counters
from efficiency_bench.measure.counters import CounterFile, count, count_calls, library_versions
from efficiency_core.errors import UsageError
from location_anticipation import TrajectoryHead
from weight_align.networks import Network, NetworkConfig, build_network

HERE = {"numpy": "2.0.0", "torch": "2.9.0", "torchvision": "0.24.0"}


def file_of(**counts: int) -> CounterFile:
    return CounterFile({"head": counts}, HERE)


def test_products_are_counted_by_hand():
    a, b = torch.rand(3, 5), torch.rand(5, 7)
    assert count(lambda: a @ b) == {"macs": 3 * 5 * 7, "operators": 1}


def test_a_training_step_counts_the_backward_pass():
    layer, x = nn.Linear(5, 7, bias=False), torch.rand(3, 5)

    def forward() -> torch.Tensor:
        return layer(x).square().sum()

    counts = count(lambda: forward().backward(), forward=forward, network=layer)
    assert counts["macs"] == 2 * 3 * 5 * 7, "forward, and the gradient of the weights; x needs none"
    assert counts["parameters"] == 35
    assert counts["saved_bytes"] == 4 * (3 * 5 + 3 * 7), "x and the outputs, without the weights"
    assert count(forward, forward=forward, network=layer, given=[x])["saved_bytes"] == 4 * 3 * 7


def test_operators_in_inference_mode_are_those_that_run():
    layer, x = nn.Linear(5, 7), torch.rand(3, 5)
    with torch.inference_mode():
        composite = count(partial(layer, x))
    with torch.no_grad():
        assert count(partial(layer, x)) == composite


def test_counts_do_not_depend_on_threads():
    network, images = thin_network(), torch.rand(2, 3, 32, 32)
    before = torch.get_num_threads()
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found.append(count(lambda: network(images).sum().backward(), forward=partial(network, images), network=network))
    torch.set_num_threads(before)
    assert found[0] == found[1]


@pytest.fixture
def drawing(tmp_path, monkeypatch):
    """A package that calls its own functions."""
    folder = tmp_path / "drawing"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "def line(n):\n    return [dot(i) for i in range(n)]\n"
        "def dot(i):\n    return max(i, 0)\n"
        "def dots(n):\n    for i in range(n):\n        yield dot(i)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield __import__("drawing")
    del sys.modules["drawing"]


def test_calls_of_a_package_alone_are_counted(drawing):
    assert count_calls(lambda: drawing.line(3), "drawing") == 1 + 3, "the line and its dots, no comprehension"
    assert count_calls(lambda: list(drawing.dots(3)), "drawing") == 4 + 3, "a generator is resumed once more at its end"
    assert count_calls(lambda: sorted([2, 1]), "drawing") == 0
    assert sys.getprofile() is None


def test_a_package_that_is_not_there():
    with pytest.raises(UsageError, match="'nothing_of_the_kind' is not installed"):
        count_calls(lambda: None, "nothing_of_the_kind")


def test_equal_counts_are_quiet():
    assert file_of(macs=10, operators=3).differences("head", {"macs": 10, "operators": 3}, HERE) == []


def test_every_other_count_is_named():
    found = file_of(macs=10, operators=3).differences("head", {"macs": 20, "operators": 3, "parameters": 1}, HERE)
    assert found == [
        "head: macs 20, the file has 10, 2 times as many",
        "head: parameters is counted here but not in the file",
    ]


def test_a_count_that_is_no_longer_taken_is_named():
    assert file_of(macs=10).differences("head", {}, HERE) == ["head: macs is counted only in the file"]


def test_a_benchmark_that_the_file_lacks_is_named():
    assert file_of(macs=10).differences("tail", {"macs": 10}, HERE) == ["tail is not in the file of counters"]


def test_with_other_versions_only_what_follows_from_shapes_is_compared():
    file, there = file_of(macs=10, operators=3, saved_bytes=8, calls=2), HERE | {"torch": "2.10.0"}
    assert file.other_versions(there) == "torch 2.10.0, counted with 2.9.0"
    assert file.differences("head", {"macs": 10, "operators": 4, "saved_bytes": 9, "calls": 3}, there) == []
    assert len(file.differences("head", {"macs": 11, "operators": 4}, there)) == 1
    assert file.other_versions(HERE) == ""


def test_a_file_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "counters.json"
    file_of(macs=10).write(path)
    assert CounterFile.read(path) == file_of(macs=10)
    assert json.loads(path.read_text())["versions"] == HERE


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"counters": {}}'])
def test_a_damaged_file_says_what_mends_it(tmp_path, content):
    path = tmp_path / "counters.json"
    path.write_text(content)
    with pytest.raises(UsageError, match="make bench-counters"):
        CounterFile.read(path)


def test_a_missing_file_says_what_mends_it(tmp_path):
    with pytest.raises(UsageError, match=r"cannot be read.*make bench-counters"):
        CounterFile.read(tmp_path / "counters.json")


def test_versions_are_those_of_the_release():
    assert library_versions()["torch"] == torch.__version__.partition("+")[0]


# What a gate is for: each change is made to the code of a method, and the file of before must say so.


def thin_network() -> Network:
    torch.manual_seed(0)
    return build_network(NetworkConfig(10, "resnet18", width=16))


def counted_network(network: nn.Module) -> dict[str, int]:
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return count(partial(network, images), forward=partial(network, images), network=network)


def differences(before: dict[str, int], after: dict[str, int]) -> dict[str, float]:
    """Name of each count that is red -> how many times as large it became."""
    here = library_versions()
    said = CounterFile({"network": before}, here).differences("network", after, here)
    names = [line.split()[1] for line in said]
    return {name: after[name] / before[name] for name in names}


def test_a_stage_that_is_applied_twice_is_red():
    network = thin_network()
    before = counted_network(network)
    assert differences(before, counted_network(network)) == {}
    network.layer1 = nn.Sequential(network.layer1, network.layer1)
    red = differences(before, counted_network(network))
    assert red.keys() == {"macs", "operators", "saved_bytes"} and red["macs"] > 1.2
    assert "parameters" not in red, "the same weights twice"


def test_a_tenth_more_bytes_for_the_backward_pass_is_red():
    network = thin_network()
    before = counted_network(network)
    numbers = before["saved_bytes"] // 10 // 4

    class Keeping(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            kept = torch.ones(numbers, requires_grad=True).exp()
            result: torch.Tensor = network(images) + 0 * kept.sum()
            return result

    keeping = Keeping()
    keeping.network = network
    red = differences(before, counted_network(keeping))
    assert red["saved_bytes"] == pytest.approx(1.1, abs=1e-3) and "macs" not in red


def test_a_head_that_computes_twice_is_red(monkeypatch):
    head, inputs = TrajectoryHead(64, 4, hidden=48), (torch.rand(5, 64), torch.rand(5, 4))
    before = count(partial(head, *inputs))
    forward = TrajectoryHead.forward
    monkeypatch.setattr(
        TrajectoryHead, "forward", lambda self, *given: (forward(self, *given), forward(self, *given))[1]
    )
    assert differences(before, count(partial(head, *inputs))) == {"macs": 2, "operators": 2}


def test_a_counter_that_counts_twice_is_red(monkeypatch):
    head, inputs = TrajectoryHead(64, 4, hidden=48), (torch.rand(5, 64), torch.rand(5, 4))
    before = count(partial(head, *inputs))
    single = counters.count_macs

    def double(*given):
        found = single(*given)
        return type(found)(2 * found.macs, {}, {}, {}, {})

    monkeypatch.setattr(counters, "count_macs", double)
    assert differences(before, count(partial(head, *inputs))) == {"macs": 2}
