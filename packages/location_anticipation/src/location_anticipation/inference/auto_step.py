r"""Keyframes where they are needed: the number of frames to the next one, chosen at every keyframe.

A fixed step places as many keyframes on a parked car as on a dog that turns round (the thesis's limitation, section 2.4.5).
Here the anticipated boxes decide when the next keyframe comes. Anticipation errs in proportion to how far objects
are expected to travel; each keyframe shows the factor, by comparing the anticipated boxes with those found.

The rule. A keyframe at t has confident boxes i with scores s_i and anticipated boxes B_{i,t+l}. The *motion* of l steps is
    m(l) = sum_i s_i (1 - IoU(B_{i,t}, B_{i,t+l})) / sum_i s_i + drift l,
where ``drift`` stands for the motion that nothing announces (m(l) = drift l without boxes). At the next keyframe, n steps
later, anticipated and found boxes are matched by class and IoU, and the *surprise* is the mean loss of IoU, each box
weighted by its score and losing everything where it has vanished or appeared,
    e = (sum_matched s (1 - IoU) + sum_vanished s + sum_appeared s) / sum_all s.
The ratio of surprise to motion is taken over the keyframes k so far, the newest of age 0, and over the newest alone, and the
larger counts, so that trust is lost at once and won back slowly:
    rho = max over r in (memory, 0) of (inertia prior + sum_k r^age e_k) / (inertia + sum_k r^age m_k(n_k)), with 0^0 = 1.
It turns anticipated motion into expected loss, and the next keyframe comes after n = 1 + L frames, L the largest number of
skipped frames with rho m(l) <= tolerance for all l = 1..L, at most T and ``max_step - 1``.

Without motion and without new objects the step is longest; fast motion that comes out as anticipated gives long steps too.
Motion that comes out otherwise, and objects that appear or vanish, give the shortest step; a few keyframes that come out
as anticipated undo that. The rule is causal and deterministic and costs one IoU matrix for each keyframe.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from location_anticipation.model.boxes import boxes_at, has_area, match_boxes, paired_iou
from location_anticipation.model.config import check_least

Objects = tuple[Tensor, Tensor, Tensor]
"""Boxes (N, 4), labels (N,) and scores (N,)."""


@dataclass(frozen=True)
class AutoStep:
    """Settings of the rule above; ``ValueError`` for one outside its range."""

    max_step: int | None = None
    """Most frames from one keyframe to the next, at least 1; None is as far as the model anticipates, T + 1."""
    tolerance: float = 0.1
    """Mean loss of IoU that is accepted on a frame without the network; larger is faster. 0 looks at every frame."""
    confident: float = 0.5
    """Boxes with a lower score do not count: weak ones come and go, which is no surprise."""
    prior: float = 0.5
    """rho before anything was seen."""
    inertia: float = 0.02
    """Weight of the prior, in units of motion."""
    memory: float = 0.5
    """Factor of a keyframe's weight from one keyframe to the next, in [0, 1)."""
    drift: float = 0.02
    """Motion per frame that nothing announces, in IoU."""
    min_iou: float = 0.3
    """Boxes with less overlap are not the same object."""

    def __post_init__(self) -> None:
        if self.max_step is not None and self.max_step < 1:
            raise ValueError(f"max_step must be at least 1 or None, got {self.max_step}")
        check_least(self, 0, "tolerance", "prior")
        for name in ("inertia", "drift"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        for name in ("confident", "min_iou"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        if not 0 <= self.memory < 1:
            raise ValueError(f"memory must be in [0, 1), got {self.memory}")


class StepChooser:
    """The rule, applied to the keyframes of one stream.

    Attributes:
        surprise: e of the latest keyframe; 0 at the first, which nothing anticipated.
        ratio: rho, the loss of IoU that a unit of anticipated motion is expected to bring.
    """

    def __init__(self, config: AutoStep) -> None:
        self.config = config
        self.surprise = 0.0
        self.ratio = config.prior
        self._surprises, self._motions = 0.0, 0.0
        self._anticipated: Objects | None = None
        self._motion = 0.0

    def next_step(self, trajectories: Tensor, labels: Tensor, scores: Tensor) -> int:
        """n, the number of frames from this keyframe to the next.

        Args:
            trajectories: (N, T + 1, 4) boxes at l = 0..T, clipped to the image.
            labels: (N,) classes.
            scores: (N,) in [0, 1].
        """
        config = self.config
        confident = scores >= config.confident
        trajectories, labels, scores = trajectories[confident], labels[confident], scores[confident]
        if self._anticipated is not None:
            self.surprise = surprise(self._anticipated, (trajectories[:, 0], labels, scores), config.min_iou)
            # The prior does not age: it keeps rho finite and away from zero when nothing moves for long.
            prior = config.inertia * config.prior
            self._surprises = config.memory * self._surprises + self.surprise
            self._motions = config.memory * self._motions + self._motion
            latest = (prior + self.surprise) / (config.inertia + self._motion)
            self.ratio = max(latest, (prior + self._surprises) / (config.inertia + self._motions))
        motion = anticipated_motion(trajectories, scores, config.drift)
        farthest = trajectories.shape[1] if config.max_step is None else min(config.max_step, trajectories.shape[1])
        step = 1
        while step < farthest and self.ratio * float(motion[step]) <= config.tolerance:
            step += 1
        # The next keyframe may lie one step beyond the last anticipated one; nothing is served there.
        self._motion = float(motion[min(step, len(motion) - 1)])
        expected = boxes_at(trajectories, step)
        inside = has_area(expected)
        self._anticipated = expected[inside], labels[inside], scores[inside]
        return step


def anticipated_motion(trajectories: Tensor, scores: Tensor, drift: float) -> Tensor:
    """m(l) for l = 0..T, (T + 1,), from boxes (N, T + 1, 4) at l = 0..T and scores (N,)."""
    steps = trajectories.shape[1]
    motion = drift * torch.arange(steps)
    weight = scores.sum()
    if weight > 0:
        moved = 1 - paired_iou(trajectories[:, :1].expand_as(trajectories), trajectories)
        motion = motion + (scores[:, None] * moved).sum(0) / weight
    return motion


def surprise(expected: Objects, found: Objects, min_iou: float) -> float:
    """e in [0, 1]: 0 where expected boxes are found as they are, 1 where none of them is; 0 for none and none.

    A matched pair weighs as much as its expected box.
    """
    partner, overlap = match_boxes(*expected[:2], *found[:2], min_iou)
    appeared = torch.ones(len(found[0]), dtype=torch.bool)
    appeared[partner[partner >= 0]] = False
    new = found[2][appeared].sum()
    weight = expected[2].sum() + new
    if weight == 0:
        return 0.0
    # Without a partner the overlap is 0: a vanished object loses everything.
    return float(((expected[2] * (1 - overlap)).sum() + new) / weight)
