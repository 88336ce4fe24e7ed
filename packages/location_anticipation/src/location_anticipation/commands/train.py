"""``location-anticipation train``."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import UseAppendAction

from efficiency_core.command import OutputFolder, Positional
from efficiency_core.errors import UsageError
from location_anticipation.data.motion_supervision import Supervision
from location_anticipation.model.config import DetectorConfig
from location_anticipation.peers.config import PeerConfig
from location_anticipation.train_config import TrainConfig

if TYPE_CHECKING:
    from location_anticipation.data.videos import Videos

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Train a detector on annotated videos, or continue the training in the folder ``--out``."""

    data: Positional[tuple[Path, ...]]
    """CocoVID JSON files (``convert`` makes them), or track-video HDF5 files; several of the same classes are joined."""
    out: OutputFolder[Path]
    """Folder of the checkpoints and of ``detector.safetensors``; a training in it is continued."""
    images: Annotated[tuple[Path, ...], UseAppendAction] = ()
    """Folder of the images of a CocoVID file, or of the videos whose frames it annotates (``detect --json``), or the only video;
    by default the folder of the file. Given once for all files, or once for each."""
    validation: Path | None = None
    """File of annotated videos to validate on; the best network is kept as ``best.safetensors``."""
    validation_images: Path | None = None
    """Folder of the images of the file to validate on, or of its videos."""
    init: Path | None = None
    """Weights to start from: a ``detector.safetensors``, or a ``state_dict`` of torchvision's Faster R-CNN of the same shape."""
    freeze: bool = False
    """Train the trajectory head alone; the detector of ``--init`` stays as it is."""
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    supervision: Supervision = field(default_factory=Supervision)
    training: TrainConfig = field(default_factory=TrainConfig)
    peer: PeerConfig = field(default_factory=PeerConfig)


def run(options: Options, device: str) -> None:
    """Train; print the losses at the end and the file of the network."""
    from location_anticipation.data.formats import open_videos
    from location_anticipation.data.keyframes import Keyframes
    from location_anticipation.peers.build import training_data
    from location_anticipation.training import train

    videos, detector, peer = _open(options), options.detector, options.peer
    if peer.method == "anticipation":
        data = Keyframes(videos, horizon=detector.horizon, supervision=options.supervision)
    elif options.supervision != Supervision() or detector.horizon != DetectorConfig().horizon:
        raise UsageError("a peer does not anticipate: --method goes without --horizon and the options of supervision")
    else:
        detector, data = replace(detector, horizon=0), training_data(videos, peer)
    classes = len(videos.info.class_names)
    _log.info("%d videos, %d keyframes, %d classes; building the network", len(videos), len(data), classes)
    validation = None if options.validation is None else open_videos(options.validation, options.validation_images)
    if options.freeze and options.init is None:
        raise UsageError("--freeze keeps a detector as it is: give its weights with --init")
    result = train(
        data, detector, options.training, options.out, peer=peer, device=device, validation=validation, init=options.init,
        freeze=options.freeze,
    )  # fmt: skip
    for name, value in result.losses.items():
        print(f"{name:24s} {value:.4f}")
    print(options.out / "detector.safetensors")


def _open(options: Options) -> Videos:
    from location_anticipation.data.formats import open_videos
    from location_anticipation.data.videos import Concatenated

    if not options.data:
        raise UsageError("expected one file of annotated videos or more")
    if len(options.images) not in (0, 1, len(options.data)):
        raise UsageError(f"--images: give one folder, or one for each of the {len(options.data)} files")
    folders = options.images if len(options.images) > 1 else (options.images or (None,)) * len(options.data)
    parts = [open_videos(path, images) for path, images in zip(options.data, folders, strict=True)]
    return parts[0] if len(parts) == 1 else Concatenated(*parts)
