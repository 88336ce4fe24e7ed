"""Reading data sets of labelled images and of pictures with masks."""

from weight_align.data.dataset import IGNORED, DatasetInfo, ImageTensor, MaskSet, MaskTensor, pixel_digest
from weight_align.data.decoding import read_image, resized
from weight_align.data.formats import FORMATS, MASK_FORMATS, ImageSet, first_images, open_dataset, options_of
from weight_align.data.imagenet import ImageFiles

__all__ = [
    "FORMATS", "IGNORED", "MASK_FORMATS", "DatasetInfo", "ImageFiles", "ImageSet", "ImageTensor", "MaskSet", "MaskTensor",
    "first_images", "open_dataset", "options_of", "pixel_digest", "read_image", "resized",
]  # fmt: skip
