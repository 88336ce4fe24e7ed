"""The trajectory subnetwork of section 2.3 (figure 2.2): where a box will be at l = 1..T, from one keyframe."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TrajectoryHead(nn.Module):
    """Three parallel FC layers (time, box, feature), concatenated, then a middle and an output FC layer.

    The thesis repeats box and feature for each of the T time indices and sends N*T rows through the network. The
    numbers stay the same when the box and feature branches run once per box and the time branch once per step: the
    middle layer is linear in the concatenation, so its weight splits into the columns that meet the time branch and
    those that meet the box and feature branches, and the two parts are added before the ReLU. :meth:`forward` does
    that; :meth:`forward_plain` is the formulation of the thesis, kept as the reference it is tested against.

    Args:
        in_features: length F of the RoI feature of one box, flattened.
        horizon: T, the number of future steps.
        hidden: width of the middle layer (1024 in the thesis); the three branches share it equally.
        num_classes: when given, one trajectory per class is predicted (the released code); when None one per box
            (the thesis).

    Raises:
        ValueError: if ``horizon`` is below 1 or ``hidden`` below 3.
    """

    def __init__(self, in_features: int, horizon: int, hidden: int = 1024, num_classes: int | None = None) -> None:
        super().__init__()
        if horizon < 1:
            raise ValueError(f"horizon T must be at least 1, got {horizon}")
        if hidden < 3:
            raise ValueError(f"hidden must be at least 3, one for each branch, got {hidden}")
        third = hidden // 3
        self.horizon = horizon
        self.num_classes = num_classes
        self.fc_time = nn.Linear(1, third)
        self.fc_box = nn.Linear(4, third)
        self.fc_feature = nn.Linear(in_features, hidden - 2 * third)
        self.fc_middle = nn.Linear(hidden, hidden)
        self.fc_out = nn.Linear(hidden, 4 * (num_classes or 1))
        # An untrained head anticipates no motion.
        nn.init.normal_(self.fc_out.weight, std=1e-3)
        nn.init.zeros_(self.fc_out.bias)

    def time_indices(self) -> Tensor:
        """(T, 1): l/T for l = 1..T, the time index scaled to (0, 1]."""
        steps = torch.arange(1, self.horizon + 1, device=self.fc_time.weight.device, dtype=self.fc_time.weight.dtype)
        return (steps / self.horizon)[:, None]

    def forward(self, features: Tensor, boxes: Tensor) -> Tensor:
        """Raw trajectory outputs.

        Args:
            features: (N, F) or (N, C, h, w) features pooled from the area of each box.
            boxes: (N, 4) keyframe boxes as (x, y, w, h), divided by the image's width and height.

        Returns:
            (N, T, 4), or (N, T, C, 4) with ``num_classes``; the criterion turns them into boxes.
        """
        per_box = torch.cat((F.relu(self.fc_box(boxes)), F.relu(self.fc_feature(features.flatten(1)))), dim=1)
        per_step = F.relu(self.fc_time(self.time_indices()))
        time_columns = per_step.shape[1]
        weight_time, weight_box = self.fc_middle.weight.split(
            (time_columns, self.fc_middle.in_features - time_columns), dim=1
        )
        from_box = F.linear(per_box, weight_box, self.fc_middle.bias)
        from_time = F.linear(per_step, weight_time)
        return self._out(F.relu(from_box[:, None] + from_time))

    def forward_plain(self, features: Tensor, boxes: Tensor) -> Tensor:
        """The same numbers as :meth:`forward`, computed as the thesis writes it: N*T rows through every layer."""
        n = boxes.shape[0]
        time = self.time_indices().repeat(n, 1)
        box = boxes.repeat_interleave(self.horizon, dim=0)
        feature = features.flatten(1).repeat_interleave(self.horizon, dim=0)
        joined = torch.cat((self.fc_time(time), self.fc_box(box), self.fc_feature(feature)), dim=1).relu()
        return self._out(self.fc_middle(joined).relu().unflatten(0, (n, self.horizon)))

    def _out(self, hidden: Tensor) -> Tensor:
        raw: Tensor = self.fc_out(hidden)
        return raw if self.num_classes is None else raw.unflatten(-1, (self.num_classes, 4))
