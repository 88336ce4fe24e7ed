"""Train a network on labelled videos, with some or all of their frames, and evaluate it (thesis chapter 3)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from ..data_files import split_files
from ..index import load_index, open_fold
from ..records import Metric
from .base import Context, Experiment, Outcome, Start, checking
from .cluster_pictures import EpochClusters, kind_agreement, kind_pictures
from .stage_distances import stage_distances

if TYPE_CHECKING:
    from full_video.networks import NetworkConfig
    from full_video.training import TrainConfig
    from full_video.video_sets import VideoSet

DATA = "move4mnist"
"""The data set that is read unless a table's row names another."""


@dataclass(frozen=True)
class Recipe:
    """The network and its training: what methods that are compared have in common.

    The thesis starts from ImageNet's weights, with which the author's release trains Move4MNIST for 40 epochs at a learning
    rate of 0.001. From random weights Move4MNIST is not learned in any such time, neither by SGD nor by AdamW: among frames of
    which most tell nothing, slow motion leaves no gradient to follow. So the default start is a network that has learned what
    motion is, the same for every row that is compared: a TSM trained on `move4mnist_start`, eight frames of a digit that moves
    in all of them. A few epochs of AdamW then do.
    """

    backbone: Literal["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"] = "resnet18"
    """torchvision's name of the network."""
    weights: str = ""
    """torchvision's weights for it, for example IMAGENET1K_V1, or a file; empty: none, see `start`."""
    start: Literal["motion", "random"] = "motion"
    """Where a network without `weights` starts: from a TSM of its width that learned motion first, or from random weights."""
    start_epochs: int = 3
    """Passes over move4mnist_start of that TSM."""
    width: int = 64
    """Channels of the first stage; 64 is torchvision's network, and all layers are as much wider or thinner."""
    frozen_norm: Literal["none", "stem", "partial", "all"] = "none"
    """Which batch normalisation has fixed statistics: none (thesis, but for UCF101 and HMDB51), up to the first stage, all
    but the first layer (TSM's partial BN), or all. A streamed stem needs that of the stem fixed."""
    dropout: float = 0.0
    """Dropout before the classifier."""
    average: Literal["after_relu", "before_relu"] = "after_relu"
    """Whether activations are compared and averaged after the last ReLU of the first stage (release) or before (thesis)."""
    image_size: int = 64
    """Side of the square the network sees in pixels; 64 is Move4MNIST's own size."""
    resize: int = 64
    """The shorter side of a frame is resized to this many pixels before a crop in the middle."""
    crop: Literal["multiscale", "random", "centre"] = "centre"
    """How training crops; tests take the middle. TSM crops at several scales, which blurs motion of half a pixel."""
    flip: Literal["none", "horizontal", "labels", "directions"] = "directions"
    """How training mirrors: not at all, keeping the label, exchanging left and right, or by all eight symmetries of the square
    with the labels left, right, up and down (Move4MNIST)."""
    max_frames: int = 0
    """The most frames of a video; 0 is no limit."""
    epochs: int = 40
    """Passes over the training videos."""
    batch_size: int = 16
    """Videos per step."""
    optimizer: Literal["sgd", "adamw"] = "adamw"
    """SGD with momentum (thesis) or AdamW."""
    learning_rate: float = 0.0005
    """Learning rate after warm-up."""
    warmup: int = 100
    """Steps over which the learning rate rises from zero."""
    schedule: Literal["step", "cosine"] = "cosine"
    """How it falls: to a tenth at each milestone, or half a cosine wave down to zero."""
    milestones: tuple[int, ...] = (20, 30)
    """Epochs after which `step` divides by ten."""
    weight_decay: float = 0.05
    """L2 penalty of SGD, decoupled decay of the weights of AdamW."""
    clip_norm: float = 20.0
    """Gradients are scaled down to this norm."""
    memory: Literal["plain", "checkpointed", "streamed"] = "plain"
    """How the stem of a network that clusters is trained; one without clusters is always plain."""
    chunk: int = 4
    """Frames that pass the stem at once where memory is not plain."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    """Arithmetic of the training."""
    workers: int = 0
    """Processes that read videos."""


@dataclass(frozen=True)
class Settings(Recipe):
    """The method. The default is the thesis's: every frame, in 8 clusters."""

    method: Literal["tsm", "tsn", "clustered"] = "clustered"
    """TSM (temporal shift), TSN (none), or TSM whose frames are clustered behind the first stage."""
    frames: int = 0
    """Frames a video is seen with; 0 is all of them."""
    rule: Literal["segments", "uniform", "dense", "motion"] = "segments"
    """How they are chosen where not all are taken: TSM's one of every segment, the segments' centres, a run, or MGSampler's
    equal steps of cumulative motion."""
    clusters: int = 8
    """g, clusters of a video; 0 for TSM and TSN."""
    grouping: str = "cumulative"
    """How frames are clustered (`full_video.clustering.METHODS`)."""
    pictured_videos: int = 6
    """Test videos whose cumulative clusters are followed over the epochs, for figures 3.4 and 3.8; 0 for none."""
    pictured_epochs: int = 6
    """Epochs at which they are looked at, the untrained network among them."""

    def __post_init__(self) -> None:
        if (self.method == "clustered") != (self.clusters > 0):
            raise ValueError(f"method {self.method} with {self.clusters} clusters: clusters go with method clustered")
        for name, least in (("frames", 0), ("clusters", 0), ("pictured_videos", 0), ("pictured_epochs", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be {least} or more, got {getattr(self, name)}")


def run(settings: Settings, context: Context) -> Outcome:
    """Train on the train split (resuming what `context.folder` holds), evaluate on the test split."""
    # Imported here: the workflow reads settings of all experiments at every start and needs none of this.
    from full_video.evaluation import evaluate
    from full_video.training import train

    training, test = open_split(context, "train"), open_split(context, "test")
    network, recipe = network_config(settings, training), train_config(settings, context.seed)
    followed = None
    if settings.grouping == "cumulative" and settings.clusters and settings.pictured_videos:
        followed = EpochClusters(test, recipe, settings.pictured_videos, settings.pictured_epochs, context.folder)
    trained = train(
        training,
        network,
        recipe,
        context.folder,
        device=context.device.type,
        weights=start_weights(settings, context),
        after_epoch=followed,
    )
    scores = evaluate(trained.network, test, recipe, device=context.device.type)
    metrics = {
        "top1": Metric(100 * scores.top1, "%"),
        "top5": Metric(100 * scores.top5, "%"),
        "train_s_per_epoch": Metric(trained.seconds_per_epoch, "s"),
        "train_loss": Metric(trained.loss, "1"),
        "skipped_videos": Metric(float(len(trained.skipped) + len(scores.skipped)), "videos"),
    }
    artifacts: dict[str, Any] = {}
    if settings.clusters:
        metrics |= kind_agreement(trained.network, test, recipe)
        artifacts |= kind_pictures(trained.network, test, recipe)
    if followed is not None:
        artifacts |= followed.pictures()
        consistent, stages = stage_distances(trained.network, test, recipe)
        metrics |= consistent
        artifacts |= stages
    protocol = {
        "network": asdict(network),
        "training": asdict(recipe),
        "test": "one clip a video, the centre of the frame",
        "training_videos": len(training),
        "test_videos": scores.videos,
        "loss_by_epoch": [round(loss, 6) for loss in trained.losses],
        "accuracy_by_class": {
            name: round(share, 6)
            for name, share in zip(training.facts.class_names, scores.per_class, strict=True)
            if share == share  # a class without test videos has none
        },
        "skipped": [f"{video.name}: {video.why}" for video in (*trained.skipped, *scores.skipped)],
    }
    return Outcome(metrics, protocol, artifacts)


def start_of(settings: Recipe) -> Start | None:
    """The training that a run starts from: the same recipe without what makes its row, on eight frames that all tell."""
    if settings.weights or settings.start == "random":
        return None
    recipe = {field.name: getattr(settings, field.name) for field in fields(Recipe)}
    plain = {"start": "random", "frozen_norm": "none", "memory": "plain", "average": "after_relu", "max_frames": 0}
    changes = {"epochs": settings.start_epochs, "learning_rate": 0.001, "method": "tsm", "frames": 8, "clusters": 0}
    return Start("action_recognition", recipe | plain | changes, {DATA: "move4mnist_start"})


def start_weights(settings: Recipe, context: Context) -> str | None:
    """What `train` takes as weights: names or a file of the settings', the network of the run this one starts from, or None."""
    return str(context.start) if context.start is not None else settings.weights or None


def open_split(context: Context, split: str) -> VideoSet:
    """The videos of a split; of a set with several folds those of fold `seed` modulo their number."""
    from full_video.video_sets import open_videos

    (file,) = split_files(context.data[DATA], split)
    if file.suffix == ".h5":
        return open_videos(file, "move4mnist", split)
    folder = context.image_folder(DATA, file)
    return open_fold(load_index(file), file.parent if folder is None else folder, context.seed)


def network_config(settings: Settings, videos: VideoSet) -> NetworkConfig:
    """The network of the settings, with a class for each of the videos'."""
    from full_video.networks import NetworkConfig

    with checking("settings of the network"):
        return NetworkConfig(
            classes=len(videos.facts.class_names),
            backbone=settings.backbone,
            width=settings.width,
            shift=settings.method != "tsn",
            clusters=settings.clusters,
            grouping=settings.grouping,
            average=settings.average,
            dropout=settings.dropout,
            frozen_norm=settings.frozen_norm,
        )


def train_config(settings: Settings, seed: int) -> TrainConfig:
    """The training of the settings."""
    from full_video.augmentation import Augmentation
    from full_video.sampling import Sampling
    from full_video.training import TrainConfig

    with checking("settings of the training"):
        return TrainConfig(
            sampling=Sampling(settings.frames, settings.rule),
            augmentation=Augmentation(
                size=settings.image_size, resize=settings.resize, crop=settings.crop, flip=settings.flip
            ),
            max_frames=settings.max_frames,
            batch_size=settings.batch_size,
            memory=settings.memory if settings.clusters else "plain",
            chunk=settings.chunk,
            precision=settings.precision,
            workers=settings.workers,
            epochs=settings.epochs,
            optimizer=settings.optimizer,
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            warmup=settings.warmup,
            schedule=settings.schedule,
            milestones=settings.milestones,
            clip_norm=settings.clip_norm,
            seed=seed,
        )


EXPERIMENT = Experiment(
    name="action_recognition",
    kind="train",
    summary="train and evaluate action recognition on sampled, all or clustered frames",
    settings_type=Settings,
    data=(DATA,),
    function=run,
    start=start_of,
)
