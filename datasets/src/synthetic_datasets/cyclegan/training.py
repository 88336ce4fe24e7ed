"""Training a CycleGAN: one loop, resumable at any moment, the same bytes every time on the CPU."""

import csv
import itertools
import json
import logging
import math
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from ..errors import BuildError, InputError
from ..files import staging
from .before_after import ROWS, before_after
from .checkpoint import read_tensors, save_cyclegan, write_tensors
from .judge import Verdict, train_judge, verdict
from .losses import adversarial_loss, cycle_loss, discriminator_loss, identity_loss
from .material import Material, Pile
from .networks import PatchDiscriminator, ResnetGenerator, initialise
from .pool import ImagePool
from .settings import CHANGE_NO_NUMBER, CycleGANConfig, rate_factor, steps_of_epoch
from .translation import Translator, to_network

LOSSES = (
    "paint", "photograph", "cycle_photo", "cycle_painting", "identity_photo", "identity_painting", "judge_photo",
    "judge_painting",
)  # fmt: skip
"""Names of the eight terms: adversarial losses of both generators, cycles, identities, both discriminators."""

_FORMAT = "synthetic_datasets.cyclegan-training/1"
_LOOK_EVERY = 20
"""Steps between looks at the losses, as a look makes a GPU wait."""
_SECONDS_BETWEEN_LINES = 30.0
_log = logging.getLogger(__name__)
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Trained:
    """What a finished training leaves."""

    network: Path
    """File of both generators."""
    steps: int
    losses: tuple[dict[str, float], ...]
    """Mean of every term in every epoch."""
    verdict: Verdict | None
    """What a classifier of domains says, where one was asked."""
    seconds: float
    """Wall time of all steps, those of earlier starts included."""


class Networks(nn.Module):
    """The four networks. A are photos, B paintings: ``paint`` goes from A to B, ``judge_painting`` judges B."""

    def __init__(self, ngf: int, ndf: int, blocks: int, generator: torch.Generator) -> None:
        super().__init__()
        self.paint = ResnetGenerator(ngf, blocks)
        self.photograph = ResnetGenerator(ngf, blocks)
        self.judge_photo = PatchDiscriminator(ndf)
        self.judge_painting = PatchDiscriminator(ndf)
        for network in self.children():
            initialise(network, generator)

    def generators(self) -> list[nn.Parameter]:
        """Weights of both generators."""
        return [*self.paint.parameters(), *self.photograph.parameters()]

    def judges(self) -> list[nn.Parameter]:
        """Weights of both discriminators."""
        return [*self.judge_photo.parameters(), *self.judge_painting.parameters()]


def train(material: Material, config: CycleGANConfig, folder: Path, device: str = "cpu") -> Trained:
    """Train in ``folder``, or go on with the training it holds.

    Writes ``training.pt`` as it goes and at the end ``cyclegan.pt`` (both generators), ``losses.csv`` and ``report.json``;
    sheets of pictures before and after in ``sheets/`` all along. The same call on a folder whose run was stopped at any
    moment continues from its last checkpoint and ends with the same weights as an uninterrupted run, bit for bit on a CPU
    with the same number of threads.

    Raises:
        InputError: the folder holds a training with other settings or pictures, or the device is not there.
        BuildError: a loss is not finite, or a file cannot be written; the last checkpoint stays.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device: cuda is asked for, but torch finds no CUDA device; --device cpu trains without")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; a training needs a folder")
    run = _Run(material, config, folder, device)
    run.resume()
    total = run.steps * (config.epochs + config.decay_epochs)
    if run.step == 0:
        run.sheet()
    bar = tqdm(total=total, initial=run.step, unit="step", disable=not sys.stderr.isatty(), leave=False)
    said = started = time.perf_counter()
    with bar:
        for photos, paintings in run.batches(total):
            run.take(photos, paintings)
            bar.update()
            last = run.step == total
            if last or run.step % config.checkpoint_every == 0:
                run.seconds += time.perf_counter() - started
                run.write()
                started = time.perf_counter()
            if last or run.step % config.sheet_every == 0:
                run.sheet()
            if time.perf_counter() - said > _SECONDS_BETWEEN_LINES:
                said = time.perf_counter()
                run.say(total)
    return run.finish(total)


def draws(seed: int, step: int) -> np.random.Generator:
    """Randomness of one step: a pure function of the step, so that a resumed training needs no state of it."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1, step)))


def picture_number(seed: int, domain: int, count: int, draw: int) -> int:
    """Which of ``count`` pictures the ``draw``-th draw of a domain is: a new random order for every pass over them."""
    turn, place = divmod(draw, count)
    order = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(2, domain, turn))).permutation(count)
    return int(order[place])


def cropped(pixels: Pixels, size: int, flip: bool, rng: np.random.Generator) -> Pixels:
    """A random square of ``size`` px, mirrored or not: (size, size, 3) of (side, side, 3)."""
    top, left = rng.integers(pixels.shape[0] - size + 1, size=2).tolist()
    mirrored = rng.random() < 0.5 and flip
    square = pixels[top : top + size, left : left + size]
    return square[:, ::-1] if mirrored else square


class _Run:
    """The state of a training: what a checkpoint holds, and one step of it."""

    def __init__(self, material: Material, config: CycleGANConfig, folder: Path, device: str) -> None:
        self.steps = steps_of_epoch(config, len(material.photos), len(material.paintings))
        self.step = 0
        self.seconds = 0.0
        self.sums = torch.zeros(config.epochs + config.decay_epochs, len(LOSSES), dtype=torch.float64)
        self._material, self._config, self._folder, self._device = material, config, folder, device
        self.networks = Networks(config.ngf, config.ndf, config.blocks, torch.Generator().manual_seed(config.seed))
        self.networks.to(device).to(memory_format=torch.channels_last if device == "cuda" else torch.contiguous_format)
        self._generators = torch.optim.Adam(self.networks.generators(), config.rate, (0.5, 0.999))
        self._judges = torch.optim.Adam(self.networks.judges(), config.rate, (0.5, 0.999))
        self._pools = (ImagePool(config.pool), ImagePool(config.pool))
        self._waiting: list[Tensor] = []  # losses of steps not yet looked at
        recipe = {name: value for name, value in asdict(config).items() if name not in CHANGE_NO_NUMBER}
        self._fingerprint = json.dumps({"config": recipe, "material": material.digest}, sort_keys=True)

    def batches(self, total: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Both domains' pictures of every step that is left; files are read ahead in threads."""
        with ThreadPoolExecutor(4) as pool:
            steps = iter(range(self.step, total))
            ahead = [pool.submit(self._batch, step) for step in itertools.islice(steps, 8)]
            try:
                while ahead:
                    yield ahead.pop(0).result()
                    ahead += [pool.submit(self._batch, step) for step in itertools.islice(steps, 1)]
            finally:
                for job in ahead:
                    job.cancel()

    def _batch(self, step: int) -> tuple[Tensor, Tensor]:
        config, rng = self._config, draws(self._config.seed, step)
        out = []
        for domain, pile in enumerate((self._material.photos, self._material.paintings)):
            first = step * config.batch
            numbers = [picture_number(config.seed, domain, len(pile), first + n) for n in range(config.batch)]
            squares = [cropped(pile.read(number), config.size, config.flip, rng) for number in numbers]
            out.append(to_network(np.stack(squares)))
        return out[0], out[1]

    def take(self, photos: Tensor, paintings: Tensor) -> None:
        """One step of both generators, then one of both discriminators."""
        config, networks = self._config, self.networks
        photos, paintings = (images.to(self._device, non_blocking=True) for images in (photos, paintings))
        for optimizer in (self._generators, self._judges):
            for group in optimizer.param_groups:
                group["lr"] = config.rate * rate_factor(self.step // self.steps, config.epochs, config.decay_epochs)
        half = torch.autocast(self._device, torch.bfloat16, enabled=config.precision == "bf16")

        for parameter in networks.judges():  # they only pass the gradient on
            parameter.requires_grad_(False)
        with half:
            painted, photographed = networks.paint(photos), networks.photograph(paintings)
            terms = [
                adversarial_loss(networks.judge_painting(painted).float(), True),
                adversarial_loss(networks.judge_photo(photographed).float(), True),
                cycle_loss(photos, networks.photograph(painted).float(), config.cycle),
                cycle_loss(paintings, networks.paint(photographed).float(), config.cycle),
                *self._identities(photos, paintings),
            ]
        self._generators.zero_grad(set_to_none=True)
        torch.autograd.backward(torch.stack(terms).sum())
        self._generators.step()

        for parameter in networks.judges():
            parameter.requires_grad_(True)
        random = torch.Generator().manual_seed(int(draws(config.seed, self.step).integers(2**62)))
        old_painted = self._pools[0].exchange(painted.float(), random)
        old_photographed = self._pools[1].exchange(photographed.float(), random)
        with half:
            judged = [
                discriminator_loss(
                    networks.judge_photo(photos).float(), networks.judge_photo(old_photographed).float()
                ),
                discriminator_loss(
                    networks.judge_painting(paintings).float(), networks.judge_painting(old_painted).float()
                ),
            ]
        self._judges.zero_grad(set_to_none=True)
        torch.autograd.backward(torch.stack(judged).sum())
        self._judges.step()

        self._waiting.append(torch.stack([*terms, *judged]).detach())
        self.step += 1
        if len(self._waiting) >= _LOOK_EVERY or self.step % self.steps == 0:
            self._look()

    def _identities(self, photos: Tensor, paintings: Tensor) -> list[Tensor]:
        config, networks = self._config, self.networks
        if config.identity == 0:  # two networks fewer to go through
            return [photos.new_zeros(()), photos.new_zeros(())]
        return [
            identity_loss(photos, networks.photograph(photos).float(), config.cycle, config.identity),
            identity_loss(paintings, networks.paint(paintings).float(), config.cycle, config.identity),
        ]

    def _look(self) -> None:
        """Add up the losses of the last steps, none of which may be other than finite."""
        if not self._waiting:
            return
        values = torch.stack(self._waiting).cpu().double()
        first = self.step - len(values)
        self._waiting = []
        if not torch.isfinite(values).all():
            row, term = (int(x) for x in (~torch.isfinite(values)).nonzero()[0])
            checkpoint = self._folder / "training.pt"
            kept = f"the checkpoint {checkpoint} is from before" if checkpoint.exists() else "no checkpoint yet"
            raise BuildError(
                f"loss {LOSSES[term]} is not finite at step {first + row} ({values[row, term].item()}); {kept}. "
                "A lower --rate usually mends it"
            )
        self.sums[(self.step - 1) // self.steps] += values.sum(dim=0)

    def losses(self) -> tuple[dict[str, float], ...]:
        """Mean of every term in the epochs begun."""
        begun = math.ceil(self.step / self.steps)
        steps = [min(self.steps, self.step - epoch * self.steps) for epoch in range(begun)]
        rows = (self.sums[:begun] / torch.tensor(steps, dtype=torch.float64)[:, None]).tolist()
        return tuple(dict(zip(LOSSES, row, strict=True)) for row in rows)

    def say(self, total: int) -> None:
        self._look()
        shown = "  ".join(f"{name} {value:.3f}" for name, value in self.losses()[-1].items())
        _log.info("step %d/%d  %s", self.step, total, shown)

    def write(self) -> None:
        """Write a checkpoint."""
        self._look()
        content = {
            "format": _FORMAT,
            "fingerprint": self._fingerprint,
            "step": self.step,
            "seconds": self.seconds,
            "sums": self.sums,
            "networks": self.networks.state_dict(),
            "generators": self._generators.state_dict(),
            "judges": self._judges.state_dict(),
            "pools": [pool.state() for pool in self._pools],
        }
        write_tensors(self._folder / "training.pt", content)

    def resume(self) -> None:
        """Take over the checkpoint, if there is one."""
        path = self._folder / "training.pt"
        if not path.exists():
            return
        content = read_tensors(path, _FORMAT)
        if content["fingerprint"] != self._fingerprint:
            odd = _differences(content["fingerprint"], self._fingerprint)
            raise InputError(f"{path}: belongs to a training with other {odd}; choose another folder or delete it")
        self.networks.load_state_dict(content["networks"])
        self._generators.load_state_dict(content["generators"])
        self._judges.load_state_dict(content["judges"])
        for pool, state in zip(self._pools, content["pools"], strict=True):
            pool.restore(state.to(self._device))
        self.step, self.seconds, self.sums = int(content["step"]), float(content["seconds"]), content["sums"]
        _log.info("continuing from step %d of %s", self.step, path)

    def sheet(self) -> None:
        """Write the sheet of this step."""
        size, there, back = self._config.size, *self._translators()
        columns = []
        for pile, first, second in (
            (self._material.unseen_photos, there, back),
            (self._material.unseen_paintings, back, there),
        ):
            shown = middle(pile, size, ROWS)
            changed = first(shown)
            columns += [shown, changed, second(changed)]
        with staging(self._folder / "sheets") as folder:
            before_after(columns, f"CycleGAN after {self.step} steps").save(folder / f"step_{self.step:07d}.png")
        self.networks.train()

    def _translators(self) -> tuple[Translator, Translator]:
        networks, device = self.networks, self._device
        return Translator(networks.paint, device), Translator(networks.photograph, device)

    def finish(self, total: int) -> Trained:
        """Write the generators and the report of a training that has come to its end."""
        config, material = self._config, self._material
        facts = {
            "size": config.size, "ngf": config.ngf, "blocks": config.blocks, "steps": total, "seed": config.seed,
            "photos": material.photos.name, "paintings": material.paintings.name, "material": material.digest,
        }  # fmt: skip
        said = None
        if config.judge_steps:
            judge = train_judge(material.photos, material.paintings, config.size, config.judge_steps, config.seed)
            photos, paintings = (
                middle(pile, config.size, len(pile)) for pile in (material.unseen_photos, material.unseen_paintings)
            )
            said = verdict(judge, photos, paintings, self._translators()[0](photos))
        report: dict[str, Any] = {"steps": total, "seconds": round(self.seconds, 1), "facts": facts}
        if said is not None:
            report["taken_for_paintings"] = asdict(said)
        save_cyclegan(self._folder / "cyclegan.pt", self.networks.paint, self.networks.photograph, facts)
        with staging(self._folder) as folder:
            (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
            with (folder / "losses.csv").open("w", newline="", encoding="utf-8") as file:
                table = csv.writer(file, lineterminator="\n")
                table.writerow(("epoch", *LOSSES))
                table.writerows((epoch + 1, *row.values()) for epoch, row in enumerate(self.losses()))
        return Trained(self._folder / "cyclegan.pt", total, self.losses(), said, self.seconds)


def middle(pile: Pile, size: int, count: int) -> Pixels:
    """The middle squares of the first ``count`` pictures of a pile, (n, size, size, 3)."""
    edge = (pile.side - size) // 2
    return pile.some(list(range(min(count, len(pile)))))[:, edge : edge + size, edge : edge + size]


def _differences(before: str, after: str) -> str:
    was, now = json.loads(before), json.loads(after)
    keys = was["config"] | now["config"]
    odd = [f"--{key.replace('_', '-')}" for key in sorted(keys) if was["config"].get(key) != now["config"].get(key)]
    return "settings (" + ", ".join(odd) + ")" if odd else "pictures"
