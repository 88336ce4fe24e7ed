"""Training of a CycleGAN, as a task of the training loop of efficiency_core."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from efficiency_core.draw import FAINT, MARGIN, font, new_sheet, write_png
from efficiency_core.files import atomic_path
from efficiency_core.loop import Accelerator, Task, recipe, resolved, run
from synthetic_datasets.cyclegan.checkpoint import NETWORK, save_cyclegan
from synthetic_datasets.cyclegan.judge import taken_for_paintings, train_judge
from synthetic_datasets.cyclegan.losses import adversarial_loss, cycle_loss, discriminator_loss, identity_loss
from synthetic_datasets.cyclegan.material import Material, cropped, draws, middle, picture_number
from synthetic_datasets.cyclegan.networks import ImagePool, Networks, Translator, to_network
from synthetic_datasets.cyclegan.settings import FREE, CycleGANConfig, rate_factor, steps_of_epoch
from synthetic_datasets.previews.sheet import GAP

LOSSES = (
    "paint", "photograph", "cycle_photo", "cycle_painting", "identity_photo", "identity_painting", "judge_photo",
    "judge_painting",
)  # fmt: skip
"""Names of the eight terms: adversarial losses of both generators, cycles, identities, both discriminators."""
ROWS = 6
"""Pictures of each domain on a sheet."""
_HEADER, _LEAST = 46, 96
"""Pixels: height of the heading of a sheet, and least side of a picture on it."""
_TITLES = ("photo", "as painting", "and back", "painting", "as photo", "and back")


@dataclass(frozen=True)
class Trained:
    """What a finished training leaves."""

    network: Path
    """File of both generators."""
    steps: int
    losses: tuple[dict[str, float], ...]
    """Mean of every term in every epoch."""
    taken_for_paintings: dict[str, float] | None
    """Part of unseen photos, paintings and painted photos that a classifier takes for paintings, where it was asked."""
    seconds: float
    """Wall time of all steps, those of earlier starts included."""


def train(material: Material, config: CycleGANConfig, folder: Path, device: str = "cpu") -> Trained:
    """Train in ``folder``, or continue the training it holds. Writes ``training.pt``, ``metrics.csv`` and
    ``tensorboard`` as it goes (see ``efficiency_core.loop.runner``), pictures before and after in ``sheets``, and at the end
    ``cyclegan.safetensors`` (both generators) and ``report.json``. Raises UsageError if the folder holds a training
    with other settings or pictures, or the device is not there. Raises WorkError if a loss is not finite, or a file
    cannot be written; the last checkpoint stays."""
    config = resolved(config, device)
    with Accelerator(device, config) as accelerator:
        task = CycleTask(accelerator, material, config, folder)
        result = run(task, config, folder, {"train": recipe(config, *FREE), "pictures": material.digest})
    losses = tuple(dict(zip(LOSSES, row, strict=True)) for row in result.epochs)
    taken: dict[str, float] | None = None
    if config.judge_steps:
        paint = task.translators()[0]
        judge = train_judge(material.photos, material.paintings, config.size, config.judge_steps, config.seed)
        unseen = (material.unseen_photos, material.unseen_paintings)
        photos, paintings = (middle(pile, config.size, len(pile)) for pile in unseen)
        shown = {"photos": photos, "paintings": paintings, "painted": paint(photos)}
        taken = {name: taken_for_paintings(judge, pixels) for name, pixels in shown.items()}
    facts = {
        "size": config.size, "ngf": config.ngf, "blocks": config.blocks, "steps": result.steps, "seed": config.seed,
        "photos": material.photos.name, "paintings": material.paintings.name, "material": material.digest,
    }  # fmt: skip
    save_cyclegan(folder / NETWORK, task.model.paint, task.model.photograph, facts)
    report: dict[str, Any] = {"steps": result.steps, "seconds": round(result.seconds, 1), "facts": facts}
    report |= {"losses": losses, **({} if taken is None else {"taken_for_paintings": taken})}
    with atomic_path(folder / "report.json") as temporary:
        temporary.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return Trained(folder / NETWORK, result.steps, losses, taken, result.seconds)


class CycleTask(Task[tuple[Tensor, Tensor]]):
    """One step of both generators, then one of both discriminators; sheets go into ``folder / "sheets"``."""

    name = "synthetic_datasets.cyclegan"
    loss_names = LOSSES
    model: Networks

    def __init__(self, accelerator: Accelerator, material: Material, config: CycleGANConfig, folder: Path) -> None:
        self.accelerator, self.clip_norm, self.batch_size = accelerator, config.clip_norm, config.batch
        self.epoch_steps = steps_of_epoch(config, len(material.photos), len(material.paintings))
        self.total = self.epoch_steps * (config.epochs + config.decay_epochs)
        self.model = Networks(config.ngf, config.ndf, config.blocks, torch.Generator().manual_seed(config.seed))
        layout = torch.channels_last if accelerator.device.type == "cuda" else torch.contiguous_format
        self.model.to(accelerator.device).to(memory_format=layout)  # type: ignore[call-overload]
        sides = (self.model.generators(), self.model.judges())
        self.optimizers = [torch.optim.Adam(side, config.rate, (0.5, 0.999)) for side in sides]
        self._pools = (ImagePool(config.pool), ImagePool(config.pool))
        self._material, self._config, self._folder = material, config, folder

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Photos and paintings of a step, each (n, 3, size, size) in -1..1."""
        config, rng = self._config, draws(self._config.seed, step)
        out = []
        for domain, pile in enumerate((self._material.photos, self._material.paintings)):
            first = step * config.batch
            numbers = [picture_number(config.seed, domain, len(pile), first + n) for n in range(config.batch)]
            squares = [cropped(pile.read(number), config.size, config.flip, rng) for number in numbers]
            out.append(to_network(np.stack(self.accelerator.part(squares))))
        return out[0], out[1]

    def rate(self, step: int, total: int) -> float:
        """Learning rate of a step: constant, then falling linearly over the last ``decay_epochs``."""
        decay = self._config.decay_epochs
        return self._config.rate * rate_factor(step // self.epoch_steps, total // self.epoch_steps - decay, decay)

    def take(self, batch: tuple[Tensor, Tensor], step: int) -> Tensor:
        """Both steps; the eight loss terms before them, (8,)."""
        networks, accelerator, config = self.model, self.accelerator, self._config
        photos, paintings = (images.to(accelerator.device, non_blocking=True) for images in batch)

        for parameter in networks.judges():  # they only pass the gradient on
            parameter.requires_grad_(False)
        with accelerator.autocast():
            painted, photographed = networks.paint(photos), networks.photograph(paintings)
            terms = [
                adversarial_loss(networks.judge_painting(painted).float(), True),
                adversarial_loss(networks.judge_photo(photographed).float(), True),
                cycle_loss(photos, networks.photograph(painted).float(), config.cycle),
                cycle_loss(paintings, networks.paint(photographed).float(), config.cycle),
            ]
            if config.identity:
                terms.append(identity_loss(photos, networks.photograph(photos).float(), config.cycle, config.identity))
                terms.append(identity_loss(paintings, networks.paint(paintings).float(), config.cycle, config.identity))
            else:  # two networks fewer to go through
                terms += [photos.new_zeros(()), photos.new_zeros(())]
        self._descend(0, terms)

        for parameter in networks.judges():
            parameter.requires_grad_(True)
        random = torch.Generator().manual_seed(int(draws(config.seed, step).integers(2**62)))
        old_painted = self._exchanged(0, painted, random)
        old_photographed = self._exchanged(1, photographed, random)
        sides = ((networks.judge_photo, photos, old_photographed), (networks.judge_painting, paintings, old_painted))
        with accelerator.autocast():
            judged = [discriminator_loss(judge(real).float(), judge(old).float()) for judge, real, old in sides]
        self._descend(1, judged)
        return torch.stack([*terms, *judged]).detach()

    def _descend(self, side: int, terms: list[Tensor]) -> None:
        self.optimizers[side].zero_grad(set_to_none=True)
        self.accelerator.backward(torch.stack(terms).sum())
        self.accelerator.step(self.optimizers[side], self.clip_norm)

    def _exchanged(self, pool: int, images: Tensor, random: torch.Generator) -> Tensor:
        whole = self.accelerator.gather(images.detach().float(), self.batch_size)
        return self.accelerator.part(self._pools[pool].exchange(whole, random))

    def state(self) -> dict[str, Any]:
        return super().state() | {"pools": [pool.state() for pool in self._pools]}

    def load(self, state: dict[str, Any]) -> None:
        super().load(state)
        for pool, kept in zip(self._pools, state["pools"], strict=True):
            pool.restore(kept.to(self.accelerator.device))

    def after_step(self, steps: int) -> None:
        if steps not in (0, self.total) and steps % self._config.sheet_every:
            return
        there, back = self.translators()
        columns = []
        unseen = ((self._material.unseen_photos, there, back), (self._material.unseen_paintings, back, there))
        for pile, first, second in unseen:
            shown = middle(pile, self._config.size, ROWS)
            changed = first(shown)
            columns += [shown, changed, second(changed)]
        sheet = before_after(columns, f"CycleGAN after {steps} steps")
        write_png(self._folder / "sheets" / f"step_{steps:07d}.png", sheet)
        self.model.train()

    def translators(self) -> tuple[Translator, Translator]:
        """Photos to paintings and back, with the networks as they are; puts them in eval mode."""
        device = self.accelerator.device.type
        return Translator(self.model.paint, device), Translator(self.model.photograph, device)


def before_after(columns: list[NDArray[np.uint8]], title: str) -> Image.Image:
    """One row a picture. ``columns``: photo, as painting, and back, painting, as photo, and back; each (n, h, w, 3)."""
    height, width = columns[0].shape[1:3]
    grow = max(1, -(-_LEAST // max(height, width)))
    cell = (grow * width, grow * height)
    size = (len(columns) * (cell[0] + GAP) + 2 * GAP, max(map(len, columns)) * (cell[1] + GAP))
    sheet, draw = new_sheet(size, title, heading=_HEADER)
    for number, (pictures, name) in enumerate(zip(columns, _TITLES, strict=True)):
        left = MARGIN + number * (cell[0] + GAP) + (2 * GAP if number >= 3 else 0)
        draw.text((left, MARGIN + _HEADER - 6), name, FAINT, font(12), anchor="ls")
        for row, pixels in enumerate(pictures):
            large = Image.fromarray(pixels).resize(cell, Image.Resampling.NEAREST)
            sheet.paste(large, (left, MARGIN + _HEADER + row * (cell[1] + GAP)))
    return sheet
