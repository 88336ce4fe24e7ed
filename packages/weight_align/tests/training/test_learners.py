"""One step of SGD against torch's own, alone and for several networks at once."""

from contextlib import nullcontext
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from weight_align import fixup, learner
from weight_align.errors import UsageError
from weight_align.graphs import Recorded, _Snapshot, check_graphs
from weight_align.learner import SingleLearner, cross_entropy_of
from weight_align.networks import Network, NetworkConfig, build_network
from weight_align.seeds import StackedLearner, clip_each
from weight_align.train_config import Recipe

pytestmark = pytest.mark.usefixtures("one_thread")


def network(seed: int = 0, **changes: Any) -> Network:
    torch.manual_seed(seed)
    made = build_network(NetworkConfig(**{"classes": 3, "width": 2} | changes))
    for parameter in made.parameters():  # Fixup's zeros would leave most gradients zero in the first step
        if not parameter.any():
            nn.init.normal_(parameter, 0, 0.2)
    return made


def data(seed: int = 0, batch: int = 4) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 3, 16, 16, generator=draw), torch.randint(0, 3, (batch,), generator=draw)


@pytest.mark.parametrize("clip_norm", [0.0, 0.05])
def test_a_step_is_that_of_plain_sgd(clip_norm: float) -> None:
    """With Fixup's scalars at a tenth of the learning rate, as in its release."""
    config = Recipe(clip_norm=clip_norm, weight_decay=0.01)
    one, two = network(align=True), network(align=True)
    scalars = fixup.scalars(two)
    assert len(scalars) > 30
    chosen = {id(value) for value in scalars}
    rest = [value for value in two.parameters() if id(value) not in chosen]
    plain = torch.optim.SGD([{"params": rest}, {"params": scalars}], 0.1, 0.9, weight_decay=0.01)
    trained = SingleLearner(one, config, nullcontext)
    trained.train_mode()
    for step, rate in enumerate((0.1, 0.1, 0.02)):
        images, labels = data(step)
        trained.set_rate(rate)
        found = trained.take(images, labels)
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
    {},
    {"align": True},
    {"norm": "bn"},
    {"norm": "bn", "align": True},
    {"norm": "gn", "align": True},
    {"norm": "ln"},
    {"norm": "in", "align": True},
    {"norm": "wn"},
    {"backbone": "vgg16", "align": True, "scale": "layer"},
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(map(str, kind.values())) or "fixup")
@pytest.mark.filterwarnings("ignore:There is a performance drop")  # of torch, about weight norm
def test_networks_together_are_what_they_are_alone(kind: dict[str, Any]) -> None:
    config = Recipe(clip_norm=2.0)
    size = 32 if "backbone" in kind else 16
    batches = [[(torch.randn(4, 3, size, size), data(10 * step + k)[1]) for k in range(3)] for step in range(3)]
    alone = []
    for k in range(3):
        one = SingleLearner(network(k, **kind), config, nullcontext)
        one.train_mode()
        one.set_rate(0.02)
        losses = torch.cat([one.take(*step[k]) for step in batches])
        alone.append((losses, one.networks()[0].state_dict()))
    together = StackedLearner([network(k, **kind) for k in range(3)], config, nullcontext)
    together.set_rate(0.02)
    found = torch.stack(
        [together.take(*(torch.stack(part) for part in zip(*step, strict=True))) for step in batches], dim=1
    )
    for k, made in enumerate(together.networks()):
        torch.testing.assert_close(found[k], alone[k][0], atol=2e-4, rtol=2e-4)
        torch.testing.assert_close(made.state_dict(), alone[k][1], atol=2e-4, rtol=2e-3)
    assert not torch.allclose(found[0], found[1])


def test_a_learner_goes_on_from_its_state() -> None:
    for make in (
        lambda: SingleLearner(network(norm="bn"), Recipe(), nullcontext),
        lambda: StackedLearner([network(k, norm="bn") for k in range(2)], Recipe(), nullcontext),
    ):
        first, second = make(), make()
        stack = isinstance(first, StackedLearner)
        inputs = [tuple(torch.stack([p, p]) if stack else p for p in data(step)) for step in range(3)]
        for one in (first, second):
            one.train_mode()
            one.set_rate(0.05)
        for images, labels in inputs[:2]:
            first.take(images, labels)
        second.load(first.state())
        assert torch.equal(first.take(*inputs[2]), second.take(*inputs[2]))
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
    monkeypatch.setattr(learner.torch, "compile", partial(torch.compile, backend="eager"))
    images, labels = data()
    for kind in ({"align": True}, {"norm": "bn"}):
        eager, compiled = (SingleLearner(network(**kind), Recipe(compile=c), nullcontext) for c in (False, True))
        for one in (eager, compiled):
            one.train_mode()
            one.set_rate(0.1)
        for _ in range(2):
            torch.testing.assert_close(eager.take(images, labels), compiled.take(images, labels))
        torch.testing.assert_close(eager.networks()[0].state_dict(), compiled.networks()[0].state_dict())


# CUDA graphs


def test_graphs_need_cuda() -> None:
    check_graphs(False, "cpu")
    with pytest.raises(UsageError, match="graphs=true records CUDA graphs, but the device is cpu; use --device cuda"):
        check_graphs(True, "cpu")
    with pytest.raises(UsageError, match="records CUDA graphs"):
        Recorded(lambda: torch.zeros(1), lambda: [], torch.device("cpu"))


def test_what_a_warm_up_changes_is_put_back() -> None:
    """Weights, running statistics and momenta; momenta that the warm-up made go back to zero, where SGD begins."""
    trained = SingleLearner(network(norm="bn"), Recipe(graphs=True), nullcontext)
    fresh = SingleLearner(network(norm="bn"), Recipe(graphs=True), nullcontext)
    for one in (trained, fresh):
        one.train_mode()
        one.set_rate(0.1)
    before = _Snapshot(trained.tensors())
    for step in range(3):
        trained.take(*data(step))
    before.put_back(trained.tensors())
    for step in range(3, 5):
        assert torch.equal(trained.take(*data(step)), fresh.take(*data(step)))
    torch.testing.assert_close(trained.tensors(), fresh.tensors(), atol=0, rtol=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("kind", [{"align": True}, {"norm": "bn"}])
def test_recorded_steps_are_those_of_the_network(kind: dict[str, Any]) -> None:
    device = torch.device("cuda")
    eager, recorded = (
        SingleLearner(network(**kind).to(device), Recipe(graphs=graphs), nullcontext) for graphs in (False, True)
    )
    take = Recorded(recorded.take, recorded.tensors, device)
    for one in (eager, recorded):
        one.train_mode()
    for step, rate in enumerate((0.1, 0.1, 0.01, 0.01)):
        images, labels = (part.to(device) for part in data(step))
        eager.set_rate(rate)
        recorded.set_rate(rate)
        torch.testing.assert_close(take(images, labels).clone(), eager.take(images, labels), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        recorded.networks()[0].state_dict(), eager.networks()[0].state_dict(), atol=1e-4, rtol=1e-3
    )
