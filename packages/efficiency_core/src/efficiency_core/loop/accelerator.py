"""Where and how a training computes: device, precision and, on several devices, what the processes do together."""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from datetime import timedelta
from types import TracebackType
from typing import Any, TypeVar

import torch
import torch.distributed as distributed
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.optim import Optimizer
from torch.utils._pytree import tree_map_only

from efficiency_core.depthwise import quicken_depthwise
from efficiency_core.devices import in_memory_order
from efficiency_core.errors import UsageError, WorkError
from efficiency_core.loop.batch_norm import summed, synchronise
from efficiency_core.loop.config import LoopConfig
from efficiency_core.loop.launch import Processes, own_place, threads_each
from efficiency_core.loop.seeds import torch_seed
from efficiency_core.memory import freed_memory_kept

_log = logging.getLogger(__name__)
_TIMEOUT = timedelta(hours=12)
"""Of one process waiting for the others: process 0 validates alone."""
Items = TypeVar("Items", bound=Any)
Config = TypeVar("Config", bound=LoopConfig)


class Accelerator(AbstractContextManager["Accelerator"]):
    """Device, arithmetic and the other processes of one training; entered where the network is built, left after the training.

    Inside, torch's random state is a copy: it is as it was afterwards. On a CPU, memory that is freed inside is kept until then
    (see :mod:`~efficiency_core.memory`). With ``config.devices`` above 1, entering starts the other processes (see
    :mod:`~efficiency_core.loop.launch`), which end where process 0 leaves.

    Raises:
        UsageError: if there are fewer GPUs than asked for, or float16 is asked for on a CPU.
    """

    def __init__(self, device: str, config: LoopConfig) -> None:
        gpus = torch.cuda.device_count() if device == "cuda" else 0
        if device == "cuda" and gpus < config.devices:
            raise UsageError(f"devices={config.devices}, but torch finds {gpus} CUDA devices")
        if config.precision == "16-mixed" and device == "cpu":
            raise UsageError("precision=16-mixed needs a GPU; on a CPU use bf16-mixed or 32-true")
        self.world = config.devices
        self.rank, self._port = own_place(config.devices)
        self.device = torch.device(device, self.rank) if device == "cuda" else torch.device(device)
        self.precision = resolved(config, device).precision
        self.share = 1.0
        """This process's part of the batch at hand; the loop sets it."""
        self.norm: Tensor | None = None
        """() Norm of the gradients before the last clipping, None where nothing was clipped or float16 may overflow."""
        self.scaler = torch.amp.GradScaler(device) if config.precision == "16-mixed" else None
        self._processes: Processes | None = None
        self._stack = ExitStack()

    @property
    def main(self) -> bool:
        """Whether this is process 0, which writes files and says how it goes."""
        return self.rank == 0

    def __enter__(self) -> Accelerator:
        if self.main and self.precision == "bf16-mixed" and self.device.type == "cpu" and not _computes_bfloat16():
            _log.warning("this CPU has no bfloat16: precision=bf16-mixed takes many times as long as 32-true")
        with ExitStack() as stack:
            if self.device.type == "cuda":
                torch.cuda.set_device(self.device)
            else:
                stack.enter_context(freed_memory_kept())
            if self.world > 1:
                self._join(stack)
            gpus = range(torch.cuda.device_count()) if self.device.type == "cuda" else []
            stack.enter_context(torch.random.fork_rng(devices=gpus))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        processes = self._processes
        with self._stack:
            if self.world == 1:
                return
            if error is None:
                self.everyone(None)  # nobody leaves before the others have done all
            elif processes is not None:
                lost = processes.failure(10.0) if isinstance(error, RuntimeError) else None  # a connection that is gone
                processes.stop()
                if lost:
                    raise WorkError(lost) from error
        if error is None and processes is not None:
            processes.finish()
        elif error is None:
            raise SystemExit(0)

    def _join(self, stack: ExitStack) -> None:
        if os.path.exists("/sys/class/net/lo"):
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all are on this machine, whatever its name stands for
        store = distributed.TCPStore("127.0.0.1", self._port, self.world, self.main, _TIMEOUT, wait_for_workers=False)
        self._processes = Processes(self.world, store.port) if self.main else None
        if "OMP_NUM_THREADS" not in os.environ:
            stack.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(threads_each(self.world))
        backend = "cpu:gloo,cuda:nccl" if self.device.type == "cuda" else "gloo"
        try:
            distributed.init_process_group(
                backend, store=store, rank=self.rank, world_size=self.world, timeout=_TIMEOUT
            )
        except BaseException:
            if self._processes is not None:
                self._processes.stop()
            raise
        stack.callback(distributed.destroy_process_group)

    def prepare(self, model: nn.Module) -> None:
        """Make the processes' models one: weights of process 0, batch norm over the whole batch until the training ends.

        In bfloat16 on a CPU, depthwise convolutions are computed by :mod:`efficiency_core.depthwise` until then.
        """
        if self.device.type == "cpu" and self.precision == "bf16-mixed":
            self._stack.callback(quicken_depthwise(model))
        if self.world == 1:
            return
        for value in model.state_dict().values():
            self.broadcast(value)
        self._stack.callback(synchronise(model, self.device))

    def seed(self, seed: int, step: int) -> None:
        """Seed torch for a step; 0 is for the initial weights, for which all processes draw the same numbers."""
        torch.manual_seed(torch_seed(seed, step, self.rank if step else 0))

    def apart(self) -> AbstractContextManager[None]:
        """What is drawn inside leaves torch's random state as it was."""
        return torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else [])

    def autocast(self) -> AbstractContextManager[Any]:
        """Context of a network's arithmetic in the precision of the training."""
        if self.precision == "32-true":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16 if self.precision == "bf16-mixed" else torch.float16)

    def forward(self, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """``network(*args, **kwargs)`` in that precision, with floating-point results as float32."""
        with self.autocast():
            result = network(*args, **kwargs)
        return map_tensors(lambda value: value.float() if value.is_floating_point() else value, result)

    def backward(self, loss: Tensor) -> None:
        """Gradients of the mean loss () of this process's share of the batch, which counts as its share does."""
        if self.world > 1:
            loss = loss * self.share
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()

    def step(self, optimizer: Optimizer, clip_norm: float = 0.0) -> None:
        """Sum the gradients over the processes, scale them down to ``clip_norm`` unless it is 0, and take the step."""
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        if self.world > 1:
            self.sum_gradients(parameters)
        if self.scaler is not None and clip_norm:
            self.scaler.unscale_(optimizer)
        if clip_norm:
            norm = nn.utils.clip_grad_norm_(parameters, clip_norm)
            self.norm = norm if self.scaler is None else None
        if self.scaler is None:
            with in_memory_order(optimizer) if self.device.type == "cpu" else nullcontext():
                optimizer.step()
        else:
            self.scaler.step(optimizer)
            self.scaler.update()

    def sum_gradients(self, parameters: Sequence[nn.Parameter | Tensor]) -> None:
        """Sum gradients over the processes, in one message per dtype; those that no process has stay None."""
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        for dtype in dict.fromkeys(parameter.dtype for parameter in trained):
            group = [parameter for parameter in trained if parameter.dtype == dtype]
            own = [parameter.grad is not None for parameter in group]
            flat = [torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in group]
            message = torch.cat([*flat, torch.tensor(own, dtype=dtype, device=flat[0].device)])
            distributed.all_reduce(message)
            *sums, having = message.split([*(part.numel() for part in flat), len(group)])
            counts = [1.0] * len(group) if all(own) else having.tolist()
            for parameter, total, count in zip(group, sums, counts, strict=True):
                if count:
                    parameter.grad = torch.empty_like(parameter) if parameter.grad is None else parameter.grad
                    parameter.grad.copy_(total.view(parameter.shape))

    def part(self, items: Items) -> Items:
        """This process's consecutive share of a sequence or of a tensor's rows; empty where there are too few."""
        count = len(items)
        share: Items = items[self.rank * count // self.world : (self.rank + 1) * count // self.world]
        return share if self.world > 1 else items

    def gather(self, values: Tensor, count: int) -> Tensor:
        """All ``count`` rows of which every process has its :meth:`part`, in their order; differentiable.

        For losses over a whole batch: every process computes the same loss, whose gradients add up to those of one.
        """
        if self.world == 1:
            return values
        first = self.rank * count // self.world
        around = [0, 0] * (values.dim() - 1)
        return summed(pad(values, [*around, first, count - first - len(values)]))

    def total(self, value: float) -> float:
        """The sum of a number over the processes."""
        if self.world == 1:
            return value
        whole = torch.tensor(value, dtype=torch.float64)
        distributed.all_reduce(whole)
        return float(whole)

    def mean(self, row: Tensor) -> Tensor:
        """The mean of a tensor over the processes, each counting as its share of the batch."""
        if self.world > 1:
            row = row * self.share
            distributed.all_reduce(row)
        return row

    def broadcast(self, values: Tensor) -> Tensor:
        """``values`` with the content that process 0 has, in place."""
        if self.world > 1:
            whole = values.detach().contiguous()
            distributed.broadcast(whole, 0)
            values.detach().copy_(whole)
        return values

    def everyone(self, value: Any) -> list[Any]:
        """The picklable values of all processes, in their order."""
        values = [value] * self.world
        if self.world > 1:
            distributed.all_gather_object(values, value)
        return values


def device_text(device: torch.device, count: int = 1) -> str:
    """What a training runs on, for times: ``NVIDIA H200``, ``2 x NVIDIA H200`` or ``cpu of HOST, 2 threads``."""
    name = f"cpu of {platform.node()}, {torch.get_num_threads()} threads"
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    return name if count == 1 else f"{count} x {name}"


def resolved(config: Config, device: str) -> Config:
    """The configuration with a precision of ``auto`` replaced by the one that ``device`` ("cpu" or "cuda") computes fast."""
    if config.precision != "auto":
        return config
    if device == "cpu":
        bfloat16 = _computes_bfloat16() and torch.cpu._is_avx512_bf16_supported()
    else:
        bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
    config = replace(config, precision="bf16-mixed" if bfloat16 else "32-true")
    _log.info("precision=auto is %s on this device", config.precision)
    return config


def _computes_bfloat16() -> bool:
    """False on x86 with AVX2 or less, where torch converts every number of a bfloat16 operation."""
    x86 = platform.machine() in ("x86_64", "AMD64")
    return not x86 or torch.backends.cpu.get_cpu_capability().startswith("AVX512")


def map_tensors(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    """A tensor, or a tuple, list or dict of such values, with every tensor replaced by ``function`` of it."""
    return tree_map_only(Tensor, function, value)
