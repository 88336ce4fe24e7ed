"""From what a detector found to a trajectory head: linking, training, agreement, files."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from efficiency_core.errors import UsageError
from location_anticipation.adaptation import (
    AdaptConfig,
    AnticipatingDetector,
    MotionConfig,
    Observation,
    adapt,
    agreement,
    frame_results,
    load_anticipating,
    save_trajectories,
)
from location_anticipation.adaptation.linking import Tracks
from location_anticipation.adaptation.motion_head import MotionHead
from location_anticipation.adaptation.pooled_features import PooledFeatures
from location_anticipation.adaptation.samples import Samples
from location_anticipation.detectors import ImageDetector, NamedDetector
from location_anticipation.inference import VideoDetector

pytestmark = pytest.mark.usefixtures("one_thread")
World = Callable[..., Observation]
SMALL = AdaptConfig(iterations=150, batch_size=16, workers=0)


def observation(rows: list[list[tuple[float, ...]]], every: int = 1) -> Observation:
    """Boxes (label, x1, y1, x2, y2) of each frame."""
    tables = [torch.tensor(row).reshape(-1, 5) for row in rows]
    boxes, labels = [table[:, 1:] for table in tables], [table[:, 0].long() for table in tables]
    scores = [torch.ones(len(table)) for table in tables]
    features = [torch.zeros(len(table), 0) for table in tables]
    return Observation((100, 100), every, len(rows) * every, boxes, labels, scores, features)


def test_tracks_go_over_gaps_but_not_to_another_class() -> None:
    box = (1.0, 10, 10, 30, 30)
    video = observation([[box], [], [(1, 12, 10, 32, 30), (2, 10, 10, 30, 30)], [(2, 12, 10, 32, 30)]])
    boxes, valid = Tracks(video, 0.3, gap=2).after(0, horizon=3)
    assert valid.tolist() == [[True, False, True, False]]
    assert boxes[0, 2].tolist() == [12, 10, 32, 30]
    assert Tracks(video, 0.3, gap=1).after(0, horizon=3)[1].tolist() == [[True, False, False, False]]
    assert Tracks(video, 0.3, gap=2).after(2, horizon=3)[1].tolist() == [
        [True, False, False, False],
        [True, True, False, False],
    ]


def test_frames_that_were_not_observed_supervise_nothing() -> None:
    video = observation([[(1.0, 10, 10, 30, 30)], [(1, 14, 10, 34, 30)]], every=4)
    boxes, valid = Tracks(video, 0.3, gap=1).after(0, horizon=6)
    assert valid[0].tolist() == [True, False, False, False, True, False, False]
    assert boxes[0, 4].tolist() == [14, 10, 34, 30]


def test_straight_motion_is_learned_and_beats_standing_still(world: World, tmp_path: Path) -> None:
    videos = [world(seed) for seed in range(6)]
    head = adapt(videos, MotionConfig(horizon=4, hidden=48), SMALL, tmp_path / "run")
    unseen = [world(seed) for seed in (20, 21)]
    copied, learned = (agreement(unseen, method, 4, head) for method in ("copied", "anticipation"))
    # (The first keyframe of a video has no history.)
    assert learned.map > copied.map + 0.1 and learned.frames == copied.frames == 2 * 18
    again = adapt(videos, MotionConfig(horizon=4, hidden=48), SMALL, tmp_path / "again")
    for value, other in zip(head.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(value, other)


@pytest.mark.parametrize("changes", [{"loss": "traj"}, {"flip": False}, {"workers": 2}])
def test_every_recipe_trains(world: World, tmp_path: Path, changes: dict[str, Any]) -> None:
    videos = [world(seed, features=96) for seed in range(2)]
    config = MotionConfig(horizon=3, hidden=12, pool=1, history=False)
    head = adapt(videos, config, replace(SMALL, iterations=3, **changes), tmp_path)
    assert head.head.fc_feature.in_features == 97
    assert all(torch.isfinite(value).all() for value in head.state_dict().values())


def test_a_video_without_motion_to_learn_from(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="finds no object in two frames at most 4 apart"):
        adapt([observation([[(1.0, 1, 1, 9, 9)], [], []])], MotionConfig(horizon=4), SMALL, tmp_path)


def test_agreement_is_perfect_where_nothing_moves() -> None:
    video = observation([[(1.0, 10, 10, 30, 30)]] * 9)
    for method in ("copied", "velocity", "interpolation"):
        found = agreement([video], method, 4)
        assert (found.map, found.map_50, found.frames) == (1.0, 1.0, 6)
    with pytest.raises(ValueError, match="every frame must have been observed, got every 2"):
        frame_results(replace(video, every=2), "copied", 4, None)


def anticipating(function: Any, **changes: Any) -> AnticipatingDetector:
    config = MotionConfig(**{"horizon": 3, "hidden": 12} | changes)
    pool = PooledFeatures(config)
    return AnticipatingDetector(ImageDetector(function), pool, MotionHead(config, pool.length)).eval()


@pytest.mark.parametrize("backbone", ["none", "mobilenet_v3_small"])
def test_the_detectors_own_boxes_stay_bit_for_bit(backbone: str) -> None:
    def detect(image: torch.Tensor) -> Any:
        place = float(image[0, 0, 0]) * 10
        return [[10 + place, 10.1, 30 + place, 31.3], [5, 5, 200, 50]], [1, 2], [0.9, 0.4]

    model = anticipating(detect, backbone=backbone, backbone_size=32)
    frames = [torch.full((3, 60, 80), t / 10) for t in range(6)]
    plain = list(VideoDetector(model.detector, 1)(frames))
    for found in VideoDetector(model, 3)(frames):
        if found.keyframe:
            assert torch.equal(found.boxes, plain[found.index].boxes)
            assert torch.equal(found.scores, plain[found.index].scores)
        assert (found.boxes[:, 2] <= 80).all()


def test_the_stream_hands_over_the_last_keyframe() -> None:
    seen = []

    class Head(MotionHead):
        def forward(self, boxes: Any, scores: Any, features: Any, motion: Any, sizes: Any) -> Any:
            seen.append(motion.clone())
            return super().forward(boxes, scores, features, motion, sizes)

    model = anticipating(lambda image: ([[10 + 20 * float(image[0, 0, 0]), 10, 50, 40]], [1], [0.9]))
    model.head = Head(model.head.config)
    list(VideoDetector(model, 2)([torch.full((3, 60, 80), t / 10) for t in range(6)]))
    assert [float(motion[0, 4]) for motion in seen] == [0, 1, 1] and float(seen[1][0, 6]) == pytest.approx(2 / 3)


def test_a_saved_head_serves_its_detector_alone(tmp_path: Path) -> None:
    model = anticipating(lambda image: ([[1, 1, 20, 20]], [1], [0.9]), backbone="mobilenet_v3_small", backbone_size=32)
    save_trajectories(tmp_path / "t.safetensors", model, "own.py:make")
    loaded = load_anticipating(tmp_path / "t.safetensors", NamedDetector("own.py:make", model.detector, ()))
    image = torch.rand(3, 40, 40)
    assert torch.equal(model([image])[0]["trajectories"], loaded([image])[0]["trajectories"])
    with pytest.raises(UsageError, match=r"was learned for own.py:make, not for other"):
        load_anticipating(tmp_path / "t.safetensors", NamedDetector("other", nn.Identity(), ()))


def test_a_mirrored_keyframe_is_that_of_the_mirrored_video(world: World) -> None:
    video = world(3, features=4)
    video = replace(video, features=[torch.rand(3, 4).half() for _ in video.features])
    width = video.size[1]
    mirrored = replace(
        video,
        boxes=[torch.stack((width - b[:, 2], b[:, 1], width - b[:, 0], b[:, 3]), dim=1) for b in video.boxes],
        features=[f.unflatten(1, (1, 2, 2)).flip(3).flatten(1) for f in video.features],
    )
    config = MotionConfig(horizon=3)
    drawn = torch.rand(20, 3, generator=torch.Generator().manual_seed(0))
    drawn[:, 2] = 0.1
    turned = Samples([video], config, SMALL).boxes_of(drawn)
    plain = Samples([mirrored], config, replace(SMALL, flip=False)).boxes_of(drawn)
    assert len(turned.boxes) == 60
    assert torch.equal(turned.valid, plain.valid)
    for value, other in zip(turned[:5], plain[:5], strict=True):
        torch.testing.assert_close(value, other, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(turned.true_boxes[turned.valid], plain.true_boxes[plain.valid], atol=1e-4, rtol=1e-4)
