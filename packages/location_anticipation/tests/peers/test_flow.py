"""Flow: warping and FlowNet-S against explicit loops and the paper, and what DFF and FGFA make of them."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from location_anticipation.peers.fgfa import FlowGuidedAggregation, aggregate
from location_anticipation.peers.flow import FlowNetS, flow_for, half_size, resize_map, warp

pytestmark = pytest.mark.usefixtures("one_thread")


def plain_warp(features: Tensor, flow: Tensor) -> Tensor:
    """Bilinear sampling pixel by pixel; places outside take the value of the nearest edge."""
    batch, channels, height, width = features.shape
    out = torch.zeros_like(features)
    for b in range(batch):
        for row in range(height):
            for column in range(width):
                x = min(max(column + float(flow[b, 0, row, column]), 0), width - 1)
                y = min(max(row + float(flow[b, 1, row, column]), 0), height - 1)
                left, top = math.floor(x), math.floor(y)
                for q_row in (top, top + 1):
                    for q_column in (left, left + 1):
                        weight = max(0, 1 - abs(x - q_column)) * max(0, 1 - abs(y - q_row))
                        if weight > 0:
                            for c in range(channels):
                                out[b, c, row, column] += weight * features[b, c, q_row, q_column]
    return out


def test_warp_is_bilinear_sampling_where_the_flow_points_also_beyond_the_borders() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(2, 3, 5, 7, generator=generator, dtype=torch.float32)
    flow = 8 * torch.rand(2, 2, 5, 7, generator=generator) - 4
    torch.testing.assert_close(warp(features, flow), plain_warp(features, flow), atol=1e-5, rtol=0)


def test_no_flow_changes_nothing_and_the_type_stays() -> None:
    features = torch.rand(2, 4, 6, 9, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(warp(features, torch.zeros(2, 2, 6, 9)), features, atol=1e-6, rtol=0)
    halved = warp(features.bfloat16(), torch.zeros(2, 2, 6, 9, dtype=torch.bfloat16))
    assert halved.dtype == torch.bfloat16
    torch.testing.assert_close(halved, features.bfloat16(), atol=0.01, rtol=0)


def test_warp_has_the_gradient_of_its_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(1, 2, 4, 5, generator=generator, requires_grad=True)
    flow = (torch.rand(1, 2, 4, 5, generator=generator) * 0.8 + 0.1).requires_grad_()
    weights = torch.rand(1, 2, 4, 5, generator=generator)
    (warp(features, flow) * weights).sum().backward()
    for at in ((0, 0, 1, 2), (0, 1, 2, 1), (0, 0, 3, 0)):
        moved = torch.zeros_like(flow)
        moved[at] = 1e-2
        up, down = ((plain_warp(features.detach(), flow.detach() + way * moved) * weights).sum() for way in (1, -1))
        assert float(flow.grad[at]) == pytest.approx(float(up - down) / 2e-2, abs=1e-3)
    assert features.grad is not None and float(features.grad.abs().sum()) > 0


def test_flow_on_a_coarser_and_on_a_finer_grid_means_the_same_motion() -> None:
    flow = torch.zeros(1, 2, 4, 8)
    flow[:, 0], flow[:, 1] = 2.0, -1.0
    coarse, fine = flow_for(flow, (2, 2)), flow_for(flow, (8, 16))
    assert coarse.shape == (1, 2, 2, 2) and fine.shape == (1, 2, 8, 16)
    torch.testing.assert_close(coarse[0, :, 0, 0], torch.tensor([0.5, -0.5]))  # a quarter as wide, half as high
    torch.testing.assert_close(fine[0, :, 3, 5], torch.tensor([4.0, -2.0]))
    assert flow_for(flow, (4, 8)) is not flow and torch.equal(flow_for(flow, (4, 8)), flow)


def test_coarser_maps_are_means() -> None:
    values = torch.arange(8.0).reshape(1, 1, 2, 4)
    torch.testing.assert_close(resize_map(values, (1, 2))[0, 0], torch.tensor([[2.5, 4.5]]))
    assert resize_map(values, (2, 4)) is values


def test_flownet_has_the_parameters_of_the_paper() -> None:
    def layer(inputs: int, outputs: int, kernel: int, bias: bool = True) -> int:
        return inputs * outputs * kernel**2 + bias * outputs

    convolutions = [(6, 64, 7), (64, 128, 5), (128, 256, 5), (256, 256, 3), (256, 512, 3), (512, 512, 3)]
    convolutions += [(512, 512, 3), (512, 512, 3), (512, 1024, 3), (1024, 1024, 3)]
    upwards = [(1024, 512, 4), (1026, 256, 4), (770, 128, 4), (386, 64, 4)]
    flows = [(1024, 2, 3), (1026, 2, 3), (770, 2, 3), (386, 2, 3), (194, 2, 3)]
    expected = sum(layer(*shape) for shape in convolutions + upwards + flows) + 4 * layer(2, 2, 4, bias=False)
    with torch.device("meta"):
        network = FlowNetS()
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == expected == 38_676_506
    assert network.out_channels == 194


@pytest.mark.parametrize(("height", "width"), [(384, 512), (32, 32), (37, 51), (1, 2)])
def test_flownet_works_at_any_size(height: int, width: int) -> None:
    network = FlowNetS(0.05)
    frames = torch.rand(2, 2, 3, height, width, generator=torch.Generator().manual_seed(0))
    flow, known = network(frames[0], frames[1])
    size = (math.ceil(height / 4), math.ceil(width / 4))
    assert flow.shape == (2, 2, *size) and known.shape == (2, network.out_channels, *size)
    assert not flow.any()  # before training nothing moves


@pytest.mark.slow
def test_flownet_learns_a_shift() -> None:
    """The flow's sign and unit: training on shifted noise brings the mean flow towards the shift."""
    torch.manual_seed(0)
    network = FlowNetS(0.1)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(40):
        scene = torch.nn.functional.interpolate(torch.rand(4, 3, 12, 12), (72, 72), mode="bicubic")
        current, other = scene[..., :64, 8:72], scene[..., :64, :64]  # what is at x now is at x + 8 in the other
        flow, _ = network(current, other)
        moved = warp(half_size(half_size(other)), flow)
        loss = (moved - half_size(half_size(current)))[..., :12].abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    flow = flow.detach()
    assert float(flow[:, 0].mean()) > 0.5  # of 2 pixels of this grid
    assert abs(float(flow[:, 1].mean())) < 0.4


def test_half_size_is_the_mean_of_four() -> None:
    image = torch.arange(24.0).reshape(1, 1, 4, 6)
    assert half_size(image).tolist() == [[[[3.5, 5.5, 7.5], [15.5, 17.5, 19.5]]]]


@pytest.mark.parametrize("size", [(32, 32), (64, 32)])
def test_gradients_in_bfloat16_hold_nothing_that_lay_in_memory(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    network = FlowNetS(0.25)
    frames = torch.randn(2, 2, 3, *size)

    def gradients() -> dict[str, Tensor]:
        for count in (1_000, 10_000, 100_000, 600_000, 1_200_000, 2_400_000):
            for many in [torch.full((count,), float("nan")) for _ in range(8)]:
                del many
        network.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16):
            _, known = network(*frames)
        known.float().square().sum().backward()
        return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}

    first = gradients()
    assert all(value.isfinite().all() for value in first.values())
    for _ in range(5):
        again = gradients()
        assert [name for name in first if not torch.equal(first[name], again[name])] == []


# Deep Feature Flow


@pytest.mark.parametrize("fpn", [True, False], ids=["fpn", "c5"])
def test_dff_without_flow_and_scale_copies_the_key_features(small: Any, fpn: bool) -> None:
    model = small.build(small.peer("dff"), flow=0, fpn=fpn)
    current, key = torch.stack(small.video(2))[:, None]
    with torch.no_grad():
        moved, expected = model.clip_features(current, [key]), model.frame_features(key)
    assert set(moved) == set(expected)
    for level, values in expected.items():
        torch.testing.assert_close(moved[level], values, atol=1e-5, rtol=1e-5)


def test_dff_warps_and_scales_every_level(small: Any) -> None:
    model = small.build(small.peer("dff"))
    current, key = torch.stack(small.video(2))[:, None]
    with torch.no_grad():
        moved, kept = model.clip_features(current, [key]), model.frame_features(key)
        flow, known = model.flow(half_size(current), half_size(key))
        scale = 1 + model.scale(known)
        for level, values in kept.items():
            size = tuple(values.shape[-2:])
            expected = warp(values, flow_for(flow, size)) * resize_map(scale, size)
            torch.testing.assert_close(moved[level], expected)
            assert not torch.allclose(moved[level], values, atol=1e-3)


def test_dff_takes_a_keyframe_as_it_is(small: Any) -> None:
    model = small.build(small.peer("dff"))
    frames = torch.stack(small.video(2))
    with torch.no_grad():
        features = model.clip_features(frames, [frames[:1].repeat(2, 1, 1, 1)])
        alone = model.frame_features(frames[:1].repeat(2, 1, 1, 1))
    for level, values in alone.items():
        assert torch.equal(features[level][0], values[0])
        assert not torch.equal(features[level][1], values[1])


# Flow-Guided Feature Aggregation


def test_fgfa_of_identical_frames_is_the_per_frame_detector(small: Any) -> None:
    model = small.build(small.peer("fgfa"), flow=0)
    frame = torch.stack(small.video(1))
    with torch.no_grad():
        aggregated, expected = model.clip_features(frame, [frame, frame]), model.frame_features(frame)
    for level, values in expected.items():
        torch.testing.assert_close(aggregated[level], values, atol=1e-5, rtol=1e-5)


def test_aggregation_against_plain_loops() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(3, 2, 4, 2, 3, generator=generator)
    embeddings = torch.randn(3, 2, 5, 2, 3, generator=generator)
    found = aggregate(features, embeddings, embeddings[1])
    for b in range(2):
        for y in range(2):
            for x in range(3):
                own = embeddings[1, b, :, y, x]
                weights = []
                for j in range(3):
                    other = embeddings[j, b, :, y, x]
                    weights.append(math.exp(float(own @ other / (own.norm() * other.norm()))))
                expected = sum(w / sum(weights) * features[j, b, :, y, x] for j, w in enumerate(weights))
                torch.testing.assert_close(found[b, :, y, x], expected)


def test_fgfa_in_batches_is_fgfa_of_each(small: Any) -> None:
    model: FlowGuidedAggregation = small.build(small.peer("fgfa"))
    frames = torch.stack(small.video(6))
    with torch.no_grad():
        together = model.clip_features(frames[:2], [frames[2:4], frames[4:]])
        for b in range(2):
            alone = model.clip_features(frames[b : b + 1], [frames[2 + b : 3 + b], frames[4 + b : 5 + b]])
            for level, values in alone.items():
                torch.testing.assert_close(together[level][b : b + 1], values, atol=1e-4, rtol=1e-4)
