"""Training a network on labelled videos, for every experiment that does: settings, data, start and forms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

from efficiency_bench.experiments.base import Context
from full_video import NetworkConfig, TrainConfig
from full_video.networks import Memory

if TYPE_CHECKING:
    from full_video import Evaluation, Trained, VideoNetwork
    from full_video.data import VideoSet

DATA = "move4mnist"
"""The data set that is read unless a table's row names another."""


class Form(NamedTuple):
    """One way to train on a video."""

    frames: int
    """Frames that the network is given; 0 is all frames of the video."""
    clusters: int
    """Clusters of the frames; 0 is none."""
    memory: Memory
    """How the stem is trained."""


FORMS = {
    "tsm8": Form(8, 0, "plain"),
    "tsm16": Form(16, 0, "plain"),
    "tsm_all": Form(0, 0, "plain"),
    "clustered8": Form(0, 8, "plain"),
    "clustered16": Form(0, 16, "plain"),
    "checkpointed8": Form(0, 8, "checkpointed"),
    "checkpointed16": Form(0, 16, "checkpointed"),
    "streamed8": Form(0, 8, "streamed"),
    "streamed16": Form(0, 16, "streamed"),
}
"""TSM with 8, 16 and all frames; all frames in 8 and 16 clusters by plain autograd (the thesis's form), with the stem
recomputed in chunks, and streamed."""


@dataclass(frozen=True)
class VideoSettings:
    """The network and its training, which methods that are compared have in common.

    The thesis starts from ImageNet's weights, with which the author's release trains Move4MNIST for 40 epochs at a learning
    rate of 0.001. From random weights Move4MNIST is not learned in any such time, neither by SGD nor by AdamW: among frames
    that mostly show nothing, slow motion leaves no gradient to follow. So networks start by default from one that has learned
    motion, the same for every row that is compared: a TSM trained on `move4mnist_start`, eight frames of a digit that moves
    in all of them. A few epochs of AdamW are then enough.
    """

    network: NetworkConfig = field(default_factory=lambda: NetworkConfig(clusters=8))
    """The network; the data set gives its classes."""
    training: TrainConfig = field(default_factory=TrainConfig)
    """The training. The run sets `seed`; `memory` is used only with clusters."""
    weights: str = ""
    """torchvision's weights for the network, for example IMAGENET1K_V1, or a file; empty: none, see `start`."""
    start: Literal["motion", "random", "weights_and_motion"] = "motion"
    """Start of a network without `weights`: a TSM of its width that learned motion first, or random weights. A network with
    `weights` starts from these, or with `weights_and_motion` from a TSM that started from these and learned motion."""
    start_epochs: int = 3
    """Passes over move4mnist_start of that TSM."""

    def __post_init__(self) -> None:
        if self.training.seed:
            raise ValueError("training.seed must be 0: the run sets it")
        if self.network.classes:
            raise ValueError("network.classes must be 0: the data set gives the classes")
        if self.start == "weights_and_motion" and not self.weights:
            raise ValueError("start weights_and_motion needs weights")
        if self.start_epochs < 1:
            raise ValueError(f"start_epochs must be at least 1, got {self.start_epochs}")

    def recipe(self, seed: int) -> TrainConfig:
        """The training of a run."""
        return replace(self.training, seed=seed, memory=self.training.memory if self.network.clusters else "plain")


def open_split(context: Context, split: str) -> VideoSet:
    """The videos of a split; of a set with several folds those of fold `seed` modulo their number."""
    from full_video.data import open_videos

    found: VideoSet = context.open_file(DATA, split, lambda file: open_videos(file, "move4mnist", split))
    return found


def train_and_evaluate(
    settings: VideoSettings, training: VideoSet, test: VideoSet, context: Context,
    after_epoch: Callable[[int, VideoNetwork], None] | None = None,
) -> tuple[Trained, Evaluation]:  # fmt: skip
    """Train from the network of another run (`context.start`), from `settings.weights` or from random weights, or
    continue the training in `context.folder`; evaluate on all test videos, shown as in the training."""
    from full_video import evaluate, train

    recipe, device = settings.recipe(context.seed), context.device.type
    weights = str(context.start) if context.start is not None else settings.weights or None
    trained = train(training, settings.network, recipe, context.folder, device, weights, after_epoch=after_epoch)
    found = evaluate(
        trained.network, test, recipe.clips, device, batch_size=recipe.batch_size, chunk=recipe.chunk,
        precision=recipe.precision, workers=recipe.workers,
    )  # fmt: skip
    return trained, found
