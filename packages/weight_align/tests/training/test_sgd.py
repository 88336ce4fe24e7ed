"""One step of SGD against torch's own, alone and for several networks at once."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from efficiency_core.loop import Accelerator
from weight_align.networks import Network, NetworkConfig, build_network, fixup_scalars
from weight_align.training import sgd
from weight_align.training.config import SgdConfig
from weight_align.training.graphs import _Snapshot
from weight_align.training.seeds import StackedTask, clip_each
from weight_align.training.sgd import SgdTask, SingleTask, cross_entropy_of


def network(seed: int = 0, **changes: Any) -> Network:
    torch.manual_seed(seed)
    made = build_network(NetworkConfig(**{"classes": 3, "backbone": "resnet18", "width": 2, "align": False} | changes))
    for parameter in made.parameters():  # Fixup's zeros would leave most gradients zero in the first step
        if not parameter.any():
            nn.init.normal_(parameter, 0, 0.2)
    return made


def data(seed: int = 0, batch: int = 4) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 3, 16, 16, generator=draw), torch.randint(0, 3, (batch,), generator=draw)


class Given:
    """Batches that a test passes itself."""

    resident = True

    def __len__(self) -> int:
        return 1

    def batch(self, step: int) -> tuple[Tensor, ...]:
        raise NotImplementedError

    def prepare(self, *batch: Tensor) -> tuple[Tensor, Tensor]:
        images, labels = batch
        return images, labels


def single(made: Network, device: str = "cpu", **changes: Any) -> SingleTask[Network]:
    config = SgdConfig(**changes)
    task = SingleTask(made, config, Given(), Accelerator(device, config))
    task.train_mode()
    return task


def stacked(count: int, kind: dict[str, Any], **changes: Any) -> StackedTask[Network]:
    config = SgdConfig(**changes)
    made = [network(k, **kind) for k in range(count)]
    return StackedTask(made, range(count), config, Given(), Accelerator("cpu", config))


@pytest.mark.parametrize("clip_norm", [0.0, 0.05])
def test_a_step_is_that_of_plain_sgd(clip_norm: float) -> None:
    """With Fixup's scalars at a tenth of the learning rate, as in its release."""
    one, two = network(align=True), network(align=True)
    scalars = fixup_scalars(two)
    assert len(scalars) > 30
    chosen = {id(value) for value in scalars}
    rest = [value for value in two.parameters() if id(value) not in chosen]
    plain = torch.optim.SGD([{"params": rest}, {"params": scalars}], 0.1, 0.9, weight_decay=0.01)
    trained = single(one, clip_norm=clip_norm, weight_decay=0.01)
    for step, rate in enumerate((0.1, 0.1, 0.02)):
        images, labels = data(step)
        trained.set_rate(rate)
        found = trained.take((images, labels))
        for group, share in zip(plain.param_groups, (1.0, 0.1), strict=True):
            group["lr"] = rate * share
        plain.zero_grad()
        loss = cross_entropy(two(images), labels)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(two.parameters(), clip_norm or 1e9)
        assert clip_norm == 0 or norm > clip_norm
        plain.step()
        torch.testing.assert_close(found, loss.detach().view(1))
    torch.testing.assert_close(one.state_dict(), two.state_dict())


KINDS: list[dict[str, Any]] = [
    {"align": True}, {"norm": "bn", "align": True}, {"norm": "in"}, {"norm": "wn"},
    {"backbone": "vgg16", "align": True, "scale": "layer"},
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(map(str, kind.values())))
@pytest.mark.filterwarnings("ignore:There is a performance drop")  # of torch, about weight norm
def test_networks_together_are_what_they_are_alone(kind: dict[str, Any]) -> None:
    size = 32 if "backbone" in kind else 16
    batches = [[(torch.randn(4, 3, size, size), data(10 * step + k)[1]) for k in range(3)] for step in range(3)]
    alone = []
    for k in range(3):
        one = single(network(k, **kind), clip_norm=2.0)
        one.set_rate(0.02)
        losses = torch.cat([one.take(step[k]) for step in batches])
        alone.append((losses, one.networks()[0].state_dict()))
    together = stacked(3, kind, clip_norm=2.0)
    together.set_rate(0.02)
    found = torch.stack(
        [together.take(tuple(torch.stack(part) for part in zip(*step, strict=True))) for step in batches], dim=1
    )
    for k, made in enumerate(together.networks()):
        torch.testing.assert_close(found[k], alone[k][0], atol=2e-4, rtol=2e-4)
        torch.testing.assert_close(made.state_dict(), alone[k][1], atol=2e-4, rtol=2e-3)
    assert not torch.allclose(found[0], found[1])


def test_a_task_continues_from_its_state() -> None:
    for make in (lambda: single(network(norm="bn")), lambda: stacked(2, {"norm": "bn"})):
        first: SgdTask[Network] = make()
        second: SgdTask[Network] = make()
        stack = isinstance(first, StackedTask)
        inputs = [tuple(torch.stack([p, p]) if stack else p for p in data(step)) for step in range(3)]
        for one in (first, second):
            one.set_rate(0.05)
        for batch in inputs[:2]:
            first.take(batch)
        second.load(first.state())
        assert torch.equal(first.take(inputs[2]), second.take(inputs[2]))
        for a, b in zip(first.tensors(), second.tensors(), strict=True):
            assert torch.equal(a, b)


def test_each_network_is_clipped_for_itself() -> None:
    gradients = [torch.randn(3, 4, 2), torch.randn(3, 5), torch.randn(3)]
    gradients[0][1] *= 1e-3
    gradients[1][1] *= 1e-3
    gradients[2][1] = 0  # the second network is below the bound
    wanted = [gradient.clone() for gradient in gradients]
    clip_each(gradients, 1.0)
    for k in range(3):
        parameters = [nn.Parameter(gradient[k].clone()) for gradient in wanted]
        for parameter, gradient in zip(parameters, wanted, strict=True):
            parameter.grad = gradient[k].clone()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        for gradient, parameter in zip(gradients, parameters, strict=True):
            assert parameter.grad is not None
            torch.testing.assert_close(gradient[k], parameter.grad)
    assert torch.equal(gradients[0][1], wanted[0][1]) and not torch.equal(gradients[0][0], wanted[0][0])


def test_cross_entropy_of_maps_leaves_out_edges() -> None:
    scores, classes = torch.randn(2, 3, 4, 5, requires_grad=True), torch.randint(0, 3, (2, 4, 5))
    classes[0, :2] = 255
    counted = [
        -scores[b, :, y, x].log_softmax(0)[classes[b, y, x]]
        for b in range(2) for y in range(4) for x in range(5) if classes[b, y, x] != 255
    ]  # fmt: skip
    torch.testing.assert_close(cross_entropy_of(scores, classes), torch.stack(counted).mean())
    nothing = cross_entropy_of(scores, torch.full((2, 4, 5), 255))
    nothing.backward()
    assert nothing == 0 and scores.grad is not None and not scores.grad.any()


@pytest.mark.slow
def test_compiled_steps_are_those_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced whole, without a break, and run by torch's own operators: what the C++ compiler makes of it is torch's affair."""
    monkeypatch.setattr(sgd.torch, "compile", partial(torch.compile, backend="eager"))
    for kind in ({"align": True}, {"norm": "bn"}):
        eager, compiled = (single(network(**kind), compile=c) for c in (False, True))
        for one in (eager, compiled):
            one.set_rate(0.1)
        for _ in range(2):
            torch.testing.assert_close(eager.take(data()), compiled.take(data()))
        torch.testing.assert_close(eager.networks()[0].state_dict(), compiled.networks()[0].state_dict())


def test_what_a_warm_up_changes_is_put_back() -> None:
    """Weights, running statistics and momenta; momenta that the warm-up made go back to zero, where SGD begins."""
    trained, fresh = (single(network(norm="bn")) for _ in range(2))
    for one in (trained, fresh):
        one.set_rate(0.1)
    before = _Snapshot(trained.tensors())
    for step in range(3):
        trained.take(data(step))
    before.restore(trained.tensors())
    for step in range(3, 5):
        assert torch.equal(trained.take(data(step)), fresh.take(data(step)))
    torch.testing.assert_close(trained.tensors(), fresh.tensors(), atol=0, rtol=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("kind", [{"align": True}, {"norm": "bn"}])
def test_recorded_steps_are_those_of_the_network(kind: dict[str, Any]) -> None:
    eager, recorded = (single(network(**kind).to("cuda"), "cuda", graphs=graphs) for graphs in (False, True))
    for step, rate in enumerate((0.1, 0.1, 0.01, 0.01)):
        eager.set_rate(rate)
        recorded.set_rate(rate)
        found = recorded.take(data(step)).clone()
        torch.testing.assert_close(found, eager.take(data(step)), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        recorded.networks()[0].state_dict(), eager.networks()[0].state_dict(), atol=1e-4, rtol=1e-3
    )
