"""Offset spaces: how boxes along a trajectory are written relative to the keyframe box."""

import math

import pytest
import torch
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder

from location_anticipation.model.offsets import CoderSpace, ImageSpace, OffsetSpace, offset_space

SPACES = pytest.mark.parametrize("space", [ImageSpace(), CoderSpace()], ids=["image", "coder"])


def random_boxes(*shape: int, seed: int = 0) -> Tensor:
    """Boxes (*shape, 4) of sides 5 to 40 in float64."""
    generator = torch.Generator().manual_seed(seed)
    corner = 100 * torch.rand(*shape, 2, generator=generator, dtype=torch.float64)
    size = 5 + 35 * torch.rand(*shape, 2, generator=generator, dtype=torch.float64)
    return torch.cat((corner, corner + size), dim=-1)


def random_offsets(*shape: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, 4, generator=generator, dtype=torch.float64)


@SPACES
def test_apply_inverts_displacement(space: OffsetSpace) -> None:
    key, boxes = random_boxes(3), random_boxes(3, 5, seed=1)
    torch.testing.assert_close(space.apply(key, space.displacement(key, boxes)), boxes)


@SPACES
def test_pairwise_offsets_add_up_to_the_displacement(space: OffsetSpace) -> None:
    boxes = random_boxes(3, 6)
    torch.testing.assert_close(space.accumulate(space.pairwise(boxes)), space.displacement(boxes[:, 0], boxes[:, 1:]))


@SPACES
def test_a_box_that_stands_still_has_no_offset(space: OffsetSpace) -> None:
    boxes = random_boxes(3, 1).expand(-1, 4, -1)
    torch.testing.assert_close(space.pairwise(boxes), torch.zeros(3, 3, 4, dtype=torch.float64))


def test_image_space_is_differences_of_corner_and_size() -> None:
    key = torch.tensor([[10.0, 20.0, 30.0, 50.0]])  # x 10, y 20, w 20, h 30
    boxes = torch.tensor([[[11.0, 18.0, 36.0, 58.0], [12.0, 16.0, 32.0, 46.0]]])  # 11 18 25 40, 12 16 20 30
    space = ImageSpace()
    assert space.displacement(key, boxes).tolist() == [[[1, -2, 5, 10], [2, -4, 0, 0]]]
    assert space.pairwise(torch.cat((key[:, None], boxes), dim=1)).tolist() == [[[1, -2, 5, 10], [1, -2, -5, -10]]]
    sums = space.accumulate(torch.tensor([[[1.0, 2, 3, 4], [10, 20, 30, 40]]]))
    assert sums.tolist() == [[[1, 2, 3, 4], [11, 22, 33, 44]]]


@pytest.mark.parametrize("weights", [(10.0, 10.0, 5.0, 5.0), (1.0, 2.0, 3.0, 4.0)])
def test_coder_space_accumulates_as_a_chain_of_box_coder_steps(weights: tuple[float, float, float, float]) -> None:
    key, offsets = random_boxes(4), random_offsets(4, 7) * weights[0] / 10
    coder, space, chain, box = BoxCoder(weights), CoderSpace(weights), [], key
    for step in range(7):
        box = coder.decode_single(offsets[:, step], box)
        chain.append(box)
    torch.testing.assert_close(space.apply(key, space.accumulate(offsets)), torch.stack(chain, dim=1))


def test_coder_space_encodes_as_the_box_coder_does() -> None:
    boxes = random_boxes(4, 6)
    coder, space = BoxCoder((10.0, 10.0, 5.0, 5.0)), CoderSpace()
    pairwise, displacement = space.pairwise(boxes), space.displacement(boxes[:, 0], boxes)
    for step in range(5):
        torch.testing.assert_close(pairwise[:, step], coder.encode_single(boxes[:, step + 1], boxes[:, step]))
        torch.testing.assert_close(displacement[:, step], coder.encode_single(boxes[:, step], boxes[:, 0]))


def test_image_space_takes_outputs_in_tenths_of_the_box_over_the_whole_trajectory() -> None:
    key = torch.tensor([[10.0, 20, 38, 34], [0, 0, 100, 10]])  # 28 by 14, 100 by 10
    space = ImageSpace()
    offsets = space.from_raw(key, torch.ones(2, 5, 4))
    assert offsets[0, 0].tolist() == pytest.approx([2.8 / 5, 1.4 / 5, 2.8 / 5, 1.4 / 5])
    # Added up, x, y, w and h have grown by a tenth of width or height.
    assert space.accumulate(offsets)[:, -1].flatten().tolist() == pytest.approx([2.8, 1.4, 2.8, 1.4, 10, 1, 10, 1])


def test_coder_space_takes_outputs_as_their_sum_over_the_trajectory() -> None:
    raw = random_offsets(2, 5)
    torch.testing.assert_close(CoderSpace().from_raw(random_boxes(2), raw), raw / 5)


@SPACES
def test_the_unit_of_the_outputs_gives_the_box_no_gradient(space: OffsetSpace) -> None:
    key, raw = random_boxes(2).requires_grad_(), random_offsets(2, 3).requires_grad_()
    gradients = torch.autograd.grad(space.from_raw(key, raw).sum(), (key, raw), allow_unused=True)
    assert gradients[0] is None and gradients[1] is not None and bool((gradients[1] > 0).all())


@SPACES
def test_gradients(space: OffsetSpace) -> None:
    key = random_boxes(2).requires_grad_()
    boxes = random_boxes(2, 3, seed=1).requires_grad_()
    offsets = random_offsets(2, 3).requires_grad_()
    assert torch.autograd.gradcheck(space.displacement, (key, boxes))
    assert torch.autograd.gradcheck(space.apply, (key, offsets))
    assert torch.autograd.gradcheck(space.accumulate, (offsets,))
    assert torch.autograd.gradcheck(space.pairwise, (boxes,))


@SPACES
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_low_precision_keeps_its_type_and_is_close(space: OffsetSpace, dtype: torch.dtype) -> None:
    boxes = random_boxes(3, 5)
    offsets = space.pairwise(boxes)
    accumulated = space.accumulate(offsets.to(dtype))
    applied = space.apply(boxes[:, 0].to(dtype), space.displacement(boxes[:, 0], boxes).to(dtype))
    assert accumulated.dtype == applied.dtype == space.pairwise(boxes.to(dtype)).dtype == dtype
    tolerance = 40 * torch.finfo(dtype).eps
    scale = float(space.accumulate(offsets).abs().max())
    torch.testing.assert_close(accumulated.double(), space.accumulate(offsets), rtol=tolerance, atol=tolerance * scale)
    torch.testing.assert_close(applied.double(), boxes, rtol=tolerance, atol=140 * tolerance)


@SPACES
@pytest.mark.parametrize(("n", "steps"), [(0, 3), (2, 0), (0, 0)])
def test_no_boxes_and_no_steps(space: OffsetSpace, n: int, steps: int) -> None:
    offsets, key = torch.zeros(n, steps, 4), torch.ones(n, 4)
    assert space.accumulate(offsets).shape == (n, steps, 4)
    assert space.from_raw(key, offsets).shape == (n, steps, 4)
    assert space.apply(key, offsets).shape == (n, steps, 4)
    assert space.displacement(key, torch.ones(n, steps, 4)).shape == (n, steps, 4)
    assert space.pairwise(torch.ones(n, steps + 1, 4)).shape == (n, steps, 4)


def test_coder_space_stays_finite_for_absurd_offsets_and_empty_boxes() -> None:
    space, key = CoderSpace(), torch.tensor([[0.0, 0.0, 16.0, 16.0]])
    boxes = space.apply(key, space.accumulate(torch.full((1, 50, 4), 1e4)))
    assert boxes.isfinite().all()
    assert float((boxes[..., 2:] - boxes[..., :2]).max()) == pytest.approx(1000.0)  # log_limit: 1000/16 times the side
    empty = torch.tensor([[5.0, 5.0, 5.0, 5.0]])
    assert space.displacement(empty, key[:, None]).isfinite().all()
    assert space.displacement(key, empty[:, None]).isfinite().all()


def test_spaces_by_name() -> None:
    assert offset_space("image") == ImageSpace()
    assert offset_space("coder") == CoderSpace((10.0, 10.0, 5.0, 5.0), math.log(1000 / 16))
    with pytest.raises(ValueError, match=r"offset space must be one of \['coder', 'image'\], got 'polar'"):
        offset_space("polar")
