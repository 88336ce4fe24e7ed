"""Average precision by name: COCO's, VOC's, and ILSVRC's with its tolerance for small boxes.

Papers on ImageNet VID print one of these as "mAP" and rarely say which. They differ in the IoU that a found box needs:

========  ==========================================  ==========================================  ===================
flavour   IoU that is needed                          area under the precision-recall curve       who prints it
========  ==========================================  ==========================================  ===================
coco      mean over .50, .55, .. .95; also .50, .75   precision envelope at 101 recall points     mmtracking (at .50)
voc       .50                                         all of the precision envelope, or 11 points  MEGA ("AP50")
ilsvrc    min(.50, w h / ((w + 10) (h + 10)))         all of the precision envelope               FGFA, SELSA, YOLOV
========  ==========================================  ==========================================  ===================

``coco`` is torchmetrics with faster-coco-eval. ``voc`` and ``ilsvrc`` are computed by :mod:`.matching`.
Both come from data whose boxes name their first and last pixel, so that a box from x1 to x2 is x2 - x1 + 1 wide; so do the
boxes this package reads from such data, and ``pixel_inclusive`` is on for both. Switch it off for boxes that name edges: for
large boxes it makes no difference, for a box 20 pixels wide a few hundredths of IoU. ``voc`` matches as the devkit of VOC
does; MEGA matches as FGFA does, which differs where true boxes of a class overlap: ``Rules(matching="free")``.

References: Everingham et al., "The PASCAL Visual Object Classes Challenge", IJCV 2010; Russakovsky et al., "ImageNet
Large Scale Visual Recognition Challenge", IJCV 2015, section 4.3; Zhu et al., "Flow-Guided Feature Aggregation for Video
Object Detection", ICCV 2017, whose evaluation the ILSVRC matching follows.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from location_anticipation.metrics.matching import RULES, FrameBoxes, Rules, check_frames, match

FLAVOURS = ("coco", *RULES)
_COCO = "COCO AP, mean over IoU .50:.05:.95, 101 recall points"


@dataclass(frozen=True)
class AveragePrecision:
    """One average precision, with its name. All values are in [0, 1]."""

    flavour: str
    """``coco``, ``voc`` or ``ilsvrc``."""
    definition: str
    """The definition, in words."""
    map: float
    """Mean over the classes that have true boxes."""
    per_class: dict[int, float]
    """AP by label, of the classes that have true boxes; empty where it was not asked for."""
    rules: Rules | None = None
    """The rules it was computed by; None for COCO's."""
    map_50: float = float("nan")
    """COCO's AP at IoU .50 alone; NaN for the other flavours."""
    map_75: float = float("nan")
    """COCO's AP at IoU .75 alone; NaN for the other flavours."""


def average_precision(
    detections: Sequence[FrameBoxes],
    targets: Sequence[FrameBoxes],
    flavour: str = "coco",
    *,
    rules: Rules | None = None,
    per_class: bool = True,
) -> AveragePrecision:
    """Average precision over frames.

    Args:
        detections: one dict a frame with ``boxes`` (N, 4) as x1 y1 x2 y2 in pixels, ``scores`` (N,), ``labels`` (N,).
            Other entries are ignored. COCO looks at the best 100 of a frame and class, the others at all.
        targets: one dict a frame with ``boxes`` (M, 4), ``labels`` (M,) and, where some boxes are not to count,
            ``iscrowd`` (M,): not finding such a box costs nothing, and a detection of it is neither right nor wrong.
            (COCO asks of these detections that they lie inside the box. VOC calls such boxes difficult. With ``free``
            matching that holds for one detection of the box, as in FGFA, and further ones are wrong.)
        flavour: ``coco``, ``voc`` or ``ilsvrc``.
        rules: other rules than those of VOC or ILSVRC. COCO has no choice.
        per_class: also COCO's AP of each class, which takes as long again; the others have it anyway.

    Raises:
        ValueError: if there is no target box that counts (average precision is then not defined), if the lists
            differ in length, if the flavour is unknown, or if rules are given for COCO.
    """
    if flavour not in FLAVOURS:
        raise ValueError(f"flavour must be one of {', '.join(FLAVOURS)}, got {flavour!r}")
    if flavour == "coco":
        if rules is not None:
            raise ValueError("COCO's average precision has its own rules; rules are for 'voc' and 'ilsvrc'")
        check_frames(detections, targets)
        return _coco(detections, targets, per_class)
    rules = rules or RULES[flavour]
    matches = match(detections, targets, rules)
    by_class = matches.average_precision(matches.counted, np.ones(len(matches.scores)))
    if not by_class:
        raise ValueError("average precision needs at least one target box")
    definition = f"{flavour.upper()} {rules}"
    return AveragePrecision(flavour, definition, float(np.mean(list(by_class.values()))), by_class, rules)


def _coco(detections: Sequence[FrameBoxes], targets: Sequence[FrameBoxes], per_class: bool) -> AveragePrecision:
    from torchmetrics.detection import MeanAveragePrecision  # takes seconds to import

    if all(bool(t["iscrowd"].all()) if "iscrowd" in t else len(t["boxes"]) == 0 for t in targets):
        raise ValueError("average precision needs at least one target box")
    metric = MeanAveragePrecision(
        backend="faster_coco_eval",
        # In float64, as pycocotools has them. By default torchmetrics takes float32, where 0.95 and a recall of .07 are others.
        iou_thresholds=np.linspace(0.5, 0.95, 10).tolist(),
        rec_thresholds=np.linspace(0, 1, 101).tolist(),
        max_detection_thresholds=[1, 10, 100],
        class_metrics=per_class,
    )
    metric.warn_on_many_detections = False
    logging.getLogger("faster_coco_eval").setLevel(logging.WARNING)  # it announces every evaluation at INFO
    entries = ("boxes", "labels", "iscrowd")
    metric.update([dict(d) for d in detections], [{k: t[k] for k in entries if k in t} for t in targets])
    result = metric.compute()
    by_class = {}
    if per_class:
        pairs = zip(result["classes"].reshape(-1).tolist(), result["map_per_class"].reshape(-1).tolist(), strict=True)
        by_class = {label: ap for label, ap in pairs if ap >= 0}  # -1: no true box of this class
    average, at_50, at_75 = (float(result[name]) for name in ("map", "map_50", "map_75"))
    return AveragePrecision("coco", _COCO, average, by_class, map_50=at_50, map_75=at_75)
