"""Video networks on torchvision's ResNets and MobileNetV2, with clustering inside. Needs torch, torchvision and numpy."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from full_video.networks.calibration import calibrate_stem
    from full_video.networks.config import STAGES, Backbone, Memory, NetworkConfig
    from full_video.networks.frames import FrameSource, Wanted, frame_chunks, rising_indices
    from full_video.networks.network import Output, VideoNetwork, build_network
    from full_video.networks.shift import ShiftedConv2d, temporal_shift
    from full_video.networks.stem_checks import check_stem, frames_independent
    from full_video.networks.streamed import StreamedRows, StreamedStem, stream_distances

__all__ = [
    "STAGES", "Backbone", "FrameSource", "Memory", "NetworkConfig", "Output", "ShiftedConv2d", "StreamedRows",
    "StreamedStem", "VideoNetwork", "Wanted", "build_network", "calibrate_stem", "check_stem", "frame_chunks",
    "frames_independent", "rising_indices", "stream_distances", "temporal_shift",
]  # fmt: skip
_MODULES = ("config", "frames", "shift", "stem_checks", "streamed", "network", "calibration")


def __getattr__(name: str) -> Any:
    for module in _MODULES if name in __all__ else ():
        if hasattr(found := import_module(f"{__name__}.{module}"), name):
            return getattr(found, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
