"""Trajectories are resized with their boxes, by the size of the image and not of the padded batch."""

import pytest
import torch
from torch import Tensor

from location_anticipation.transform import TrajectoryTransform

T = 3


def make_transform() -> TrajectoryTransform:
    return TrajectoryTransform(64, 100, [0.5, 0.5, 0.5], [0.2, 0.2, 0.2])


def target(n: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    corner = 20 * torch.rand(n, T + 1, 2, generator=generator)
    boxes = torch.cat((corner, corner + 5), dim=-1)
    return {"boxes": boxes[:, 0], "trajectories": boxes[:, 1:]}


def test_a_720p_frame_is_scaled_without_its_padding() -> None:
    transform = TrajectoryTransform(800, 1333, [0.5, 0.5, 0.5], [0.2, 0.2, 0.2]).eval()
    frame = torch.tensor([[0.0, 0, 1280, 720]])
    images, targets = transform(
        [torch.rand(3, 720, 1280)], [{"boxes": frame, "trajectories": frame[:, None].expand(-1, T, -1)}]
    )
    (size,) = images.image_sizes
    assert size == (749, 1333) and tuple(images.tensors.shape[-2:]) == (768, 1344)  # padded to multiples of 32
    torch.testing.assert_close(targets[0]["trajectories"], torch.tensor([[[0.0, 0, 1333, 749]] * T]))
    back = transform.postprocess([dict(targets[0])], images.image_sizes, [(720, 1280)])
    torch.testing.assert_close(back[0]["boxes"], frame)
    torch.testing.assert_close(back[0]["trajectories"], frame[:, None].expand(-1, T, -1))


def test_trajectories_go_with_the_boxes_in_a_batch_of_different_sizes() -> None:
    transform = make_transform().eval()
    sizes, counts = [(37, 53), (90, 41), (64, 64), (20, 31)], [2, 3, 0, 1]
    given = [target(n) for n in counts]
    images, targets = transform([torch.rand(3, *size) for size in sizes], given)
    assert len({tuple(size) for size in images.image_sizes}) == 4
    for before, after, old, new in zip(given, targets, sizes, images.image_sizes, strict=True):
        ratio = torch.tensor([new[1] / old[1], new[0] / old[0]] * 2)
        torch.testing.assert_close(after["boxes"], before["boxes"] * ratio)
        torch.testing.assert_close(after["trajectories"], before["trajectories"] * ratio)
    back = transform.postprocess([dict(facts) for facts in targets], images.image_sizes, sizes)
    for before, after in zip(given, back, strict=True):
        torch.testing.assert_close(after["boxes"], before["boxes"])
        torch.testing.assert_close(after["trajectories"], before["trajectories"])


def test_what_is_given_stays_as_it_is() -> None:
    given = target(2)
    before = {name: value.clone() for name, value in given.items()}
    make_transform()([torch.rand(3, 37, 53)], [given])
    assert all(torch.equal(given[name], before[name]) for name in before)


@pytest.mark.parametrize("training", [True, False])
def test_targets_and_results_without_trajectories_pass(training: bool) -> None:
    transform = make_transform().train(training)
    images, targets = transform([torch.rand(3, 37, 53)], [{"boxes": target(2)["boxes"]}])
    assert set(targets[0]) == {"boxes"}
    assert set(transform.postprocess(targets, images.image_sizes, [(37, 53)])[0]) == {"boxes"}
