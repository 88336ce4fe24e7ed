"""The options of ``detect`` and ``evaluate`` that choose the keyframes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from efficiency_core.errors import UsageError

if TYPE_CHECKING:
    from location_anticipation.inference.auto_step import AutoStep


@dataclass(frozen=True, kw_only=True)
class KeyframeOptions:
    """Which frames are keyframes."""

    keyframe_step: int | Literal["auto"] | None = None
    """The network runs on every N-th frame, or with ``auto`` where it is needed. By default: ``detect``, the trained T;
    ``evaluate``, 1, or the step of the ``--method``."""
    tolerance: float | None = None
    """For ``auto``: mean loss of IoU to accept between keyframes, 0.1 by default; larger is faster."""

    def rule(self) -> int | AutoStep | None:
        """The step or rule that the options ask for; None where they do not say.

        Raises:
            UsageError: for a tolerance that is negative or without ``auto``.
        """
        from location_anticipation.inference.auto_step import AutoStep

        if self.keyframe_step == "auto":
            try:
                return AutoStep() if self.tolerance is None else AutoStep(tolerance=self.tolerance)
            except ValueError as error:
                raise UsageError(f"--{error}") from error
        if self.tolerance is not None:
            raise UsageError("--tolerance is for --keyframe-step auto")
        return self.keyframe_step
