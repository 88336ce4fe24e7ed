"""What a network is shown of a video. Needs no torch."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from efficiency_core.loop import check_least
from full_video.data.augmentation import Augmentation
from full_video.data.sampling import Sampling


@dataclass(frozen=True)
class ClipConfig:
    """What a network is shown of a video. It is stored with the network, which is then used in the same way."""

    sampling: Sampling = field(default_factory=Sampling)
    """Which frames of a video; all of them by default."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    """Size, crop and flip of the frames."""
    max_frames: int = 0
    """Largest number of frames of a clip: more are thinned out evenly; 0 means no limit."""

    def __post_init__(self) -> None:
        check_least(self, 0, "max_frames")

    def indices(
        self, length: int, rng: np.random.Generator | None = None, motion: NDArray[np.float64] | None = None
    ) -> NDArray[np.int64]:
        """As :meth:`Sampling.indices <full_video.data.sampling.Sampling.indices>`, at most ``max_frames`` of them."""
        chosen = self.sampling.indices(length, rng, motion)
        if self.max_frames and len(chosen) > self.max_frames:
            return chosen[Sampling(self.max_frames, "uniform").indices(len(chosen))]
        return chosen
