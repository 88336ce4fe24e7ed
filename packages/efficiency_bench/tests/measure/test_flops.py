from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet18, resnet50
from torchvision.models.detection import FasterRCNN, fasterrcnn_mobilenet_v3_large_320_fpn
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.rpn import RPNHead

from efficiency_bench.measure.flops import CountersDisagree, MacCount, count_macs, cross_check, is_move, is_pointwise
from efficiency_core.errors import UsageError, WorkError

Counter = Literal["torch", "fvcore"]
both = pytest.mark.parametrize("counter", ["torch", "fvcore"])


@both
@pytest.mark.parametrize(
    ("layer", "shape", "macs"),
    [
        # batch x out x in, the bias is no multiply-add
        (nn.Linear(5, 7), (3, 5), 3 * 7 * 5),
        (nn.Linear(5, 7), (3, 4, 5), 3 * 4 * 7 * 5),
        # batch x positions x out x in/groups x kernel; the stride shows in the positions
        (nn.Conv2d(4, 6, 3), (2, 4, 10, 9), 2 * (8 * 7) * 6 * 4 * 9),
        (nn.Conv2d(4, 6, 3, stride=2, padding=1), (2, 4, 10, 9), 2 * (5 * 5) * 6 * 4 * 9),
        (nn.Conv2d(4, 6, 3, groups=2), (2, 4, 10, 9), 2 * (8 * 7) * 6 * 2 * 9),
        (nn.Conv2d(4, 4, (3, 1), groups=4, dilation=2), (1, 4, 10, 9), (6 * 9) * 4 * 1 * 3),
        (nn.Conv1d(4, 6, 5), (2, 4, 11), 2 * 7 * 6 * 4 * 5),
        (nn.Conv3d(3, 8, (3, 3, 3), stride=(1, 2, 2), padding=1), (1, 3, 4, 8, 8), (4 * 4 * 4) * 8 * 3 * 27),
        # a transposed convolution multiplies once per input position
        (nn.ConvTranspose2d(4, 6, 3, stride=2), (2, 4, 5, 5), 2 * (5 * 5) * 4 * 6 * 9),
    ],
)
def test_layers_against_their_formulas(counter: Counter, layer: nn.Module, shape: tuple[int, ...], macs: int) -> None:
    count = count_macs(layer.eval(), torch.rand(shape), counter=counter)
    assert count.macs == sum(count.by_operator.values()) == macs
    assert count.by_module == {"": macs} and count.skipped == {}


@both
@pytest.mark.parametrize(("build", "macs"), [(resnet18, 1_814_073_344), (resnet50, 4_089_184_256)])
def test_resnets_at_224(counter: Counter, build: Any, macs: int) -> None:
    count = count_macs(build().eval(), torch.rand(1, 3, 224, 224), counter=counter)
    assert count.macs == macs
    assert count.by_module["conv1"] == 112 * 112 * 64 * 3 * 49
    assert count.by_module["fc"] == 1000 * (512 if build is resnet18 else 2048)
    assert any("norm" in name for name in (*count.skipped, *count.elementwise))


def test_fvcore_prices_normalisation_apart_from_the_sum() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4)).eval()
    count = count_macs(model, torch.rand(1, 3, 5, 5), counter="fvcore")
    assert count.macs == 25 * 3 * 4
    assert count.by_module == {"": 25 * 3 * 4, "0": 25 * 3 * 4}
    assert count.elementwise == {"batch_norm": 2 * 25 * 4}


@both
def test_the_heads_of_faster_rcnn(counter: Counter) -> None:
    rois, classes = 13, 11
    box_head = nn.Sequential(TwoMLPHead(256 * 7 * 7, 1024), FastRCNNPredictor(1024, classes))
    count = count_macs(box_head.eval(), torch.rand(rois, 256, 7, 7), counter=counter)
    assert count.macs == rois * (256 * 49 * 1024 + 1024 * 1024 + 1024 * classes + 1024 * 4 * classes)

    sizes, anchors = [(8, 8), (4, 4), (2, 2)], 3
    features = [torch.rand(1, 256, *size) for size in sizes]
    count = count_macs(RPNHead(256, anchors).eval(), (features,), counter=counter)
    assert count.macs == (64 + 16 + 4) * (256 * 256 * 9 + 256 * anchors + 256 * 4 * anchors)


@pytest.fixture(scope="module")
def detector() -> FasterRCNN:
    torch.manual_seed(0)
    return fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None, weights_backbone=None, num_classes=11, min_size=64, max_size=64, box_score_thresh=0.0
    ).eval()


def test_a_whole_detector_counts_the_same_twice(detector: FasterRCNN) -> None:
    images = [torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(1))]
    check = cross_check(detector, (images,), tolerance=0.0)
    assert check.ratio == 1.0
    assert check.torch.macs == check.fvcore.macs > 0
    assert {"torchvision::roi_align", "torchvision::nms"} <= set(check.torch.skipped)
    assert "torchvision::roi_align" in check.fvcore.skipped
    # what torchvision compiles by itself is one opaque call in the trace, and is named
    assert "prim::CallFunction" in check.fvcore.skipped
    for name in ("backbone.body", "rpn.head", "roi_heads.box_head", "roi_heads.box_predictor"):
        assert check.torch.by_module[name] == check.fvcore.by_module[name] > 0


def test_several_arguments_and_one() -> None:
    class Pair(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return a @ b

    for counter in ("torch", "fvcore"):
        assert count_macs(Pair(), (torch.rand(2, 3), torch.rand(3, 4)), counter=counter).macs == 24


def test_a_training_step_counts_its_backward_pass() -> None:
    model = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2))

    def step(batch: Tensor) -> None:
        model(batch).sum().backward()

    forward, weights, inputs = (7 * (15 + 10), 7 * (15 + 10), 7 * 10)  # the first layer's input needs no gradient
    assert count_macs(step, (torch.rand(7, 3),)).macs == forward + weights + inputs


def test_a_module_is_called_without_gradients_and_the_setting_is_restored() -> None:
    seen: list[bool] = []

    class Probe(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(torch.is_grad_enabled())
            return x @ x

    count_macs(Probe(), torch.rand(2, 2))
    assert seen == [False] and torch.is_grad_enabled()


def test_attention_is_counted_or_listed() -> None:
    query = torch.rand(1, 2, 5, 8)
    count = count_macs(lambda: F.scaled_dot_product_attention(query, query, query), ())
    listed = [name for name in count.skipped if "attention" in name]
    # older versions of torch have no formula for the CPU kernel: then it must be listed
    assert (count.macs, listed) == (2 * 2 * 5 * 5 * 8, []) or (count.macs == 0 and len(listed) == 1)


@pytest.mark.parametrize(
    ("layer", "arguments", "operator"),
    [
        (nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), 1, "aten::_transformer_encoder_layer_fwd"),
        (nn.MultiheadAttention(32, 4, batch_first=True), 3, "aten::_native_multi_head_attention"),
    ],
)
def test_the_fast_path_of_transformers_is_listed(layer: nn.Module, arguments: int, operator: str) -> None:
    count = count_macs(layer.eval(), (torch.rand(2, 7, 32),) * arguments)
    assert count.macs == 0 and count.skipped == {operator: 1}
    with pytest.raises(CountersDisagree, match=operator):
        cross_check(layer, (torch.rand(2, 7, 32),) * arguments)


@both
def test_attention_without_the_fast_path(counter: Counter) -> None:
    layer = nn.MultiheadAttention(32, 4, batch_first=True).train()
    x = torch.rand(2, 7, 32)
    projections, products = 4 * 2 * 7 * 32 * 32, 2 * 2 * 7 * 7 * 32
    assert count_macs(layer, (x, x, x), counter=counter).macs == projections + products


@both
def test_pointwise_is_apart_from_arithmetic_and_moves_are_not_listed(counter: Counter) -> None:
    class Mixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = torch.cat([x.sigmoid() * x, x.exp()]).transpose(0, 1).reshape(-1)
            return y.cumsum(0)

    count = count_macs(Mixed(), torch.rand(3, 4), counter=counter)
    assert count.macs == 0 and count.skipped == {"aten::cumsum": 1}
    assert count.pointwise == {"aten::sigmoid": 1, "aten::mul": 1, "aten::exp": 1}


def test_the_kinds_of_operators() -> None:
    assert is_pointwise("aten::relu_") and is_pointwise("aten::hardswish")
    assert is_move("aten::view") and is_move("aten::cat") and is_move("aten::fill_")
    for name in ("aten::cumsum", "torchvision::nms", "prim::CallFunction", "made::up"):
        assert not is_move(name) and not is_pointwise(name)


def test_what_only_torch_prices_is_left_out_of_the_comparison() -> None:
    class Products(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.baddbmm(x, x, x) + x @ x

    check = cross_check(Products(), torch.rand(2, 3, 3))
    assert check.torch.by_operator == {"aten::baddbmm": 54, "aten::bmm": 54}
    assert check.fvcore.macs == 54
    assert check.fvcore.skipped == {"aten::baddbmm": 1}
    assert check.ratio == 1.0


def test_a_disagreement_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CountersDisagree, match="neither counter found"):
        cross_check(nn.ReLU(), torch.rand(3))

    def counted(model: nn.Module, inputs: Any, *, counter: str) -> MacCount:
        macs = {"torch": 1000, "fvcore": 1002}[counter]
        return MacCount(macs, {"linear": macs}, {"": macs}, {}, {})

    monkeypatch.setattr("efficiency_bench.measure.flops.count_macs", counted)
    assert cross_check(nn.Identity(), (), tolerance=0.01).ratio == 1000 / 1002
    with pytest.raises(CountersDisagree, match="torch counts 1,000 multiply-adds of matmul, fvcore 1,002"):
        cross_check(nn.Identity(), (), tolerance=0.001)


def test_what_fvcore_cannot_trace() -> None:
    class ToFloat(nn.Module):
        def forward(self, x: Tensor) -> float:
            return float((x @ x).sum())

    assert count_macs(ToFloat(), torch.rand(2, 2)).macs == 8
    with pytest.raises(WorkError, match="fvcore could not trace ToFloat"):
        count_macs(ToFloat(), torch.rand(2, 2), counter="fvcore")


def test_wrong_use() -> None:
    with pytest.raises(UsageError, match="expected 'torch' or 'fvcore'"):
        count_macs(nn.Identity(), torch.rand(1), counter="thop")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"fvcore counts an nn\.Module, got function"):
        count_macs(lambda x: x, torch.rand(1), counter="fvcore")
