"""Boxes of neighbouring frames linked to tracks: where each box goes, as the detector itself has seen it."""

import torch
from torch import Tensor

from location_anticipation.adaptation.observation import Observation
from location_anticipation.model.boxes import match_boxes


class Tracks:
    """Tracks of the objects of a video.

    A box is linked to the last box of a track of its class, the largest IoU first, if that was at most ``gap`` observed frames
    ago and their IoU is at least ``min_iou``; any other box opens a track.
    """

    def __init__(self, video: Observation, min_iou: float, gap: int) -> None:
        self._video = video
        self._track_of: list[list[int]] = []
        self._rows: list[dict[int, int]] = []  # for each track: observed frame -> row of its box
        active: list[int] = []
        for time, (boxes, labels) in enumerate(zip(video.boxes, video.labels, strict=True)):
            active = [track for track in active if time - max(self._rows[track]) <= gap]
            partner = self._partners(boxes, labels, active, min_iou)
            tracks = []
            for row, found in enumerate(partner):
                if found < 0:
                    self._rows.append({})
                tracks.append(len(self._rows) - 1 if found < 0 else active[found])
                self._rows[tracks[-1]][time] = row
            active += [track for track in tracks if track not in active]
            self._track_of.append(tracks)

    def _partners(self, boxes: Tensor, labels: Tensor, active: list[int], min_iou: float) -> list[int]:
        if not active:
            return [-1] * len(boxes)
        last = [max(self._rows[track].items()) for track in active]
        known = torch.stack([self._video.boxes[time][row] for time, row in last])
        classes = torch.stack([self._video.labels[time][row] for time, row in last])
        partner, _ = match_boxes(boxes, labels, known, classes, min_iou)
        return [int(found) for found in partner]

    def after(self, time: int, horizon: int) -> tuple[Tensor, Tensor]:
        """Where the boxes of observed frame ``time`` are 0..``horizon`` frames later.

        Returns:
            (N, horizon + 1, 4) boxes, and (N, horizon + 1) bool, whether the frame was observed and the object found in it.
        """
        every = self._video.every
        boxes = torch.zeros(len(self._track_of[time]), horizon + 1, 4)
        valid = torch.zeros(boxes.shape[:2], dtype=torch.bool)
        for row, track in enumerate(self._track_of[time]):
            for step in range(0, horizon + 1, every):
                there = self._rows[track].get(time + step // every)
                if there is not None:
                    boxes[row, step] = self._video.boxes[time + step // every][there]
                    valid[row, step] = True
        return boxes, valid
