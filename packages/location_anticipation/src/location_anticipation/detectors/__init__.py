"""Detectors of single images that others have made: torchvision's by name, and any function from an image to boxes."""

from location_anticipation.detectors.image_detector import ImageDetector, NamedDetector
from location_anticipation.detectors.opening import open_detector, read_class_names
from location_anticipation.detectors.torchvision_models import torchvision_detector, torchvision_names

__all__ = [
    "ImageDetector",
    "NamedDetector",
    "open_detector",
    "read_class_names",
    "torchvision_detector",
    "torchvision_names",
]
