"""The trajectory head of any detector: what it sees of the motion, and its limiting cases."""

import pytest
import torch

from location_anticipation.adaptation.config import AdaptConfig, MotionConfig
from location_anticipation.adaptation.motion_head import MotionHead, box_motion
from location_anticipation.inference.stream import Earlier

BOXES = torch.tensor([[20.0, 10, 40, 50], [100, 100, 120, 120]])
LABELS = torch.tensor([1, 2])


def test_motion_is_the_box_coders_velocity() -> None:
    # The first box was 4 pixels further left and half as high, centred at the same y; the second was of another class.
    before = torch.tensor([[16.0, 20, 36, 40], [100, 100, 120, 120]])
    motion = box_motion(BOXES, LABELS, Earlier(before, torch.tensor([1, 1]), 2), horizon=8, min_iou=0.1)
    velocity = torch.tensor([10 * 4 / 20, 0.0, 0.0, 5 * torch.log(torch.tensor(2.0))]) / 2
    assert torch.allclose(motion[0], torch.tensor([*velocity, 1, (16 * 20) / (20 * 40 + 80), 2 / 8]))
    assert not motion[1].any() and not box_motion(BOXES, LABELS, None, 8, 0.1).any()


def run(head: MotionHead, motion: torch.Tensor) -> torch.Tensor:
    sizes = torch.tensor([[320.0, 240.0]]).expand(2, 2)
    raw = head(BOXES, torch.ones(2), torch.zeros(2, 0), motion, sizes)
    return head.boxes_from(BOXES, raw)


@pytest.mark.parametrize(("gate", "share"), [(50.0, 1.0), (-50.0, 0.0), (0.0, 0.5)])
def test_an_open_gate_is_constant_velocity_and_a_closed_one_stands_still(gate: float, share: float) -> None:
    head = MotionHead(MotionConfig(horizon=5))
    torch.nn.init.zeros_(head.head.fc_out.weight)
    with torch.no_grad():
        head.head.fc_out.bias.copy_(torch.tensor([0.0] * 4 + [gate] * 4))
    shift = torch.tensor([3.0, -2, 3, -2])
    motion = box_motion(BOXES, LABELS, Earlier(BOXES - 2 * shift, LABELS, 2), horizon=5, min_iou=0.01)
    steps = torch.arange(1, 6)[:, None]
    assert torch.allclose(run(head, motion), BOXES[:, None] + share * steps * shift, atol=1e-3)


def test_without_history_motion_is_not_read() -> None:
    head = MotionHead(MotionConfig(horizon=3, history=False))
    assert torch.equal(run(head, torch.zeros(2, 7)), run(head, torch.full((2, 7), torch.nan)))


def test_gradients_in_double_precision() -> None:
    head = MotionHead(MotionConfig(horizon=2, hidden=6)).double()
    torch.nn.init.normal_(head.head.fc_out.weight)
    arguments = (BOXES.double(), torch.ones(2).double(), torch.zeros(2, 0).double())
    sizes = torch.tensor([[320.0, 240.0]]).double().expand(2, 2)
    motion = torch.rand(2, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda seen: head.boxes_from(BOXES.double(), head(*arguments, seen, sizes)), motion)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (MotionConfig, {"horizon": 0}),
        (MotionConfig, {"backbone": "vgg"}),
        (MotionConfig, {"match_iou": 0.0}),
        (AdaptConfig, {"loss": "l1"}),
        (AdaptConfig, {"link_gap": 0}),
    ],
)
def test_settings_that_make_no_sense(kind: type, wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        kind(**wrong)
