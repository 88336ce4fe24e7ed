import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn

from efficiency_bench.measure.memory import SavedBytes, cuda_peak, peak_live_bytes, saved_bytes
from efficiency_core.errors import UsageError

FLOAT = 4


def chain(width: int, depth: int) -> nn.Sequential:
    layers = [layer for _ in range(depth) for layer in (nn.Linear(width, width), nn.ReLU())]
    return nn.Sequential(*layers)


def test_a_chain_of_linears_and_relus() -> None:
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4), nn.ReLU())
    x = torch.rand(5, 8)
    # A linear keeps its input, a ReLU its output; the first ReLU's output is the second linear's input.
    inputs, hidden, output = 5 * 8 * FLOAT, 5 * 16 * FLOAT, 5 * 4 * FLOAT
    saved = saved_bytes(lambda: model(x), exclude=model)
    assert (saved.total, saved.storages) == (inputs + hidden + output, 3)
    without_input = saved_bytes(lambda: model(x), exclude=[x, *model.parameters()])
    assert (without_input.total, without_input.storages) == (hidden + output, 2)
    # The second weight is kept for the gradient of its input; the first is not, since x needs none.
    assert saved_bytes(lambda: model(x)).total == inputs + hidden + output + 16 * 4 * FLOAT


def test_nothing_is_saved_where_nothing_needs_a_gradient() -> None:
    assert saved_bytes(lambda: torch.rand(3).exp()) == SavedBytes(0, 0)
    x = torch.rand(3, requires_grad=True)
    assert saved_bytes(lambda: x + 1) == SavedBytes(0, 0)
    with torch.no_grad():  # it is switched on inside
        assert saved_bytes(lambda: x.exp()).total == 3 * FLOAT


def test_a_view_counts_once_and_its_whole_storage() -> None:
    x = torch.rand(10, 10, requires_grad=True)
    saved = saved_bytes(lambda: (x[0].exp(), x[1] * x[2]))
    assert saved == SavedBytes(total=10 * FLOAT + 100 * FLOAT, storages=2)
    y = x.detach().exp().requires_grad_()
    assert saved_bytes(lambda: (y.sin(), y.view(-1).cos(), y.t().tanh() * 0)).total == 2 * 100 * FLOAT


def test_what_two_operators_keep_counts_once() -> None:
    x = torch.rand(100, requires_grad=True)

    def forward() -> Tensor:
        y = (x * 2).relu_()  # keeps its output
        return y * y  # keeps it twice more

    assert saved_bytes(forward) == SavedBytes(total=100 * FLOAT, storages=1)


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_keeps_the_borders_only(reentrant: bool) -> None:
    blocks = [chain(16, 4) for _ in range(3)]
    model = nn.ModuleList(blocks)
    x = torch.rand(10, 16, requires_grad=True)

    def forward(checkpointed: bool) -> Tensor:
        y = x
        for block in blocks:
            y = checkpoint(block, y, use_reentrant=reentrant) if checkpointed else block(y)
        return y

    activation = 10 * 16 * FLOAT
    # Plain: the input and the 12 ReLU outputs, each both output of a ReLU and input of the next linear.
    assert saved_bytes(lambda: forward(False), exclude=model).total == 13 * activation
    assert saved_bytes(lambda: forward(True), exclude=model).total == 3 * activation


def test_the_peak_of_a_forward_pass() -> None:
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    x = torch.rand(5, 8)

    def forward() -> Tensor:
        with torch.no_grad():
            return model(x)

    # Input and weights were there before; linear and ReLU output live together, each 5 x 16.
    assert peak_live_bytes(forward) == 2 * 5 * 16 * FLOAT


def test_views_in_place_and_dead_tensors() -> None:
    before = torch.zeros(1000)

    def work() -> Tensor:
        before.add_(1)  # not made here
        a = torch.zeros(100)
        a.mul_(2)
        b = a.view(10, 10).t()
        c = b + 1  # a and c: 800
        del a, b
        d = c[:50] * 2  # c and d: 800
        del c
        return d

    assert peak_live_bytes(work) == 2 * 100 * FLOAT
    assert peak_live_bytes(lambda: before.view(10, 100)) == 0


def test_the_result_counts_and_a_resize_is_followed() -> None:
    assert peak_live_bytes(lambda: torch.ones(7, dtype=torch.float64)) == 56
    assert peak_live_bytes(lambda: torch.empty(0).resize_(50)) == 200


def test_inference_mode_hides_nothing() -> None:
    layer = nn.MultiheadAttention(16, 2, batch_first=True).train()
    x = torch.rand(2, 6, 16)

    def run(mode: type[torch.no_grad] | type[torch.inference_mode]) -> object:
        with mode():
            return layer(x, x, x)

    assert peak_live_bytes(lambda: run(torch.inference_mode)) == peak_live_bytes(lambda: run(torch.no_grad)) > 0


def test_the_peak_is_the_same_every_time() -> None:
    torch.manual_seed(0)
    detector = fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None, weights_backbone=None, num_classes=3, min_size=64, max_size=64
    ).eval()
    image = torch.rand(3, 64, 64)

    def detect() -> object:
        with torch.inference_mode():
            return detector([image])

    peaks = {peak_live_bytes(detect) for _ in range(3)}
    assert len(peaks) == 1
    assert peaks.pop() > image.nbytes


def test_cuda_peak_needs_cuda() -> None:
    with pytest.raises(UsageError, match="needs a cuda device, got 'cpu'"):
        cuda_peak(lambda: None, torch.device("cpu"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_peak_of_one_tensor() -> None:
    device = torch.device("cuda")
    before = torch.zeros(1 << 20, device=device)
    peak = cuda_peak(lambda: before + 1, device)
    assert peak.added == before.nbytes
    assert peak.total >= 2 * before.nbytes


def test_tensors_without_data_count_as_those_with_data() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    def step() -> None:
        layer = nn.Linear(64, 32)
        layer(torch.ones(16, 64)).relu().sum().backward()

    with FakeTensorMode():
        without = peak_live_bytes(step)
    assert without == peak_live_bytes(step) > 16 * 64 * 4
