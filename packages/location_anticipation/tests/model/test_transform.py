"""Trajectories are resized with their boxes, by the size of the image and not of the padded batch."""

import torch
from torch import Tensor

from location_anticipation.model.transform import TrajectoryTransform

T = 3


def make_transform(*sizes: int) -> TrajectoryTransform:
    return TrajectoryTransform(*sizes, [0.5, 0.5, 0.5], [0.2, 0.2, 0.2]).eval()


def target(n: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    corner = 20 * torch.rand(n, T + 1, 2, generator=generator)
    boxes = torch.cat((corner, corner + 5), dim=-1)
    return {"boxes": boxes[:, 0], "trajectories": boxes[:, 1:]}


def test_a_720p_frame_is_scaled_without_its_padding() -> None:
    transform = make_transform(800, 1333)
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
    transform = make_transform(64, 100)
    sizes, given = [(37, 53), (90, 41), (64, 64), (20, 31)], [target(n) for n in (2, 3, 0, 1)]
    before = [{name: value.clone() for name, value in facts.items()} for facts in given]
    images, targets = transform([torch.rand(3, *size) for size in sizes], given)
    assert len({tuple(size) for size in images.image_sizes}) == 4
    back = transform.postprocess([dict(facts) for facts in targets], images.image_sizes, sizes)
    for i, (old, new) in enumerate(zip(sizes, images.image_sizes, strict=True)):
        ratio = torch.tensor([new[1] / old[1], new[0] / old[0]] * 2)
        for name in ("boxes", "trajectories"):
            torch.testing.assert_close(targets[i][name], before[i][name] * ratio)
            torch.testing.assert_close(back[i][name], before[i][name])
            assert torch.equal(given[i][name], before[i][name])  # what is given stays as it is
