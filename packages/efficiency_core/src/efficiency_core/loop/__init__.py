"""The one training loop: steps, devices, checkpoints and logs."""

from typing import TYPE_CHECKING

from efficiency_core import lazy_names

if TYPE_CHECKING:
    from efficiency_core.loop.accelerator import Accelerator, device_text, map_tensors, resolved
    from efficiency_core.loop.config import LoopConfig, Precision, check_choice, check_least, check_positive, recipe
    from efficiency_core.loop.finished import make_thin
    from efficiency_core.loop.launch import together
    from efficiency_core.loop.runner import BEST, CHECKPOINT, LoopResult, run
    from efficiency_core.loop.schedule import Schedule, rate_at
    from efficiency_core.loop.seeds import epoch_order, torch_seed
    from efficiency_core.loop.task import Task

__all__ = [
    "BEST", "CHECKPOINT", "Accelerator", "LoopConfig", "LoopResult", "Precision", "Schedule", "Task", "check_choice",
    "check_least", "check_positive", "device_text", "epoch_order", "make_thin", "map_tensors", "rate_at", "recipe", "resolved",
    "run", "together", "torch_seed",
]  # fmt: skip
__getattr__ = lazy_names(
    __name__,
    accelerator="Accelerator device_text map_tensors resolved",
    config="LoopConfig Precision check_choice check_least check_positive recipe",
    finished="make_thin",
    launch="together",
    runner="BEST CHECKPOINT LoopResult run",
    schedule="Schedule rate_at",
    seeds="epoch_order torch_seed",
    task="Task",
)
