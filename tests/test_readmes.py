"""The commands of the READMEs: their options are there, and they run as printed, in order, in an empty folder."""

import os
import re
import shlex
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from efficiency_core.command import Group, Program, parse_options

ROOT = Path(__file__).parents[1]
READMES = {
    "root": ROOT / "README.md",
    "datasets": ROOT / "datasets" / "README.md",
    **{path.parent.name: path for path in sorted(ROOT.glob("packages/*/README.md"))},
}
PROGRAMS = {
    name: target.split(":")[0]
    for file in (*ROOT.glob("packages/*/pyproject.toml"), ROOT / "datasets" / "pyproject.toml")
    for name, target in tomllib.loads(file.read_text())["project"].get("scripts", {}).items()
}
_OTHERS = "pip make snakemake pytest conda python git mkdocs"
NOT_RUN = {
    r"pip install|conda env": "needs the network; tests/packages_alone.py installs every package",
    r"(make|snakemake|pytest) ": "works on the repository; tests/workflow does so",
    r"location-anticipation .*--detector fasterrcnn_resnet50_fpn_v2": "needs the network, for torchvision's weights",
    r".*--(backbone-)?weights IMAGENET1K_V1|weight-align convert IMAGENET1K_V1": "the same",
    r"weight-align train photos/ .*--weights start\.safetensors": "needs the network converted from these weights",
    r"location-anticipation .*ILSVRC2015|location-anticipation train vid\.json det\.json": "needs ILSVRC",
    r"location-anticipation train train\.h5 --method dff": "the thesis's settings take days of a CPU; peers' tests train",
    r"weight-align train cifar-10-batches-py": "300 epochs, as in the thesis; the README's other commands train for 30",
    r"synthdata train-cyclegan --out cyclegan --photos|synthdata build pitts-cyclegan": "a training of hours",
    r"effbench (tabulate|plot|claims|report) ": "needs the run records of a build; tests/workflow makes some",
}
"""Pattern of commands that the tests do not run -> why."""
QUICK = [
    r"synthdata build moving-digits --out moving_digits$", r"synthdata (card|preview) ", r"effbench (list|schemas|show)",
    r"python train\.py", r".*--help$",
]  # fmt: skip
"""Patterns of commands that take a few seconds."""


@dataclass(frozen=True)
class Step:
    """A command of a README, or a file that it shows."""

    where: str
    text: str
    file: str = ""
    """Name of the file; empty for a command."""


def steps(readme: Path) -> Iterator[Step]:
    """Commands and files in order. Blocks of a language are files if their first line is a comment with a name."""
    blocks = re.finditer(r"^```(\w*)\n(.*?)^```", readme.read_text(encoding="utf-8"), re.M | re.S)
    for block in blocks:
        language, content = block.groups()
        place = f"{readme.relative_to(ROOT)}:{readme.read_text(encoding='utf-8')[: block.start()].count(chr(10)) + 1}"
        named = re.match(r"# ([\w.]+\.\w+)\n", content)
        if named:
            yield Step(place, content, named[1])
        elif language in ("", "sh", "bash", "console") and "──" not in content:
            for line in re.sub(r"\\\n\s*", "", content).splitlines():
                if line.strip() and not line.startswith("#"):
                    yield Step(place, re.sub(r"\s+# .*", "", line).removeprefix("$ ").strip())


def commands() -> list[Step]:
    return [step for readme in READMES.values() for step in steps(readme) if not step.file]


def why_not(command: str) -> str | None:
    return next((why for pattern, why in NOT_RUN.items() if re.match(pattern, command)), None)


# What a README expects of its reader


def clip(path: Path, count: int = 24) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(str(path))).integers(0, 255, (96, 128 + 2 * count, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for t in range(count):
            image = np.ascontiguousarray(noise[:, 2 * t : 2 * t + 128])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


def pictures(folder: Path, count: int = 8, size: int = 64) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 255, (size, size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.jpg")


def labelled_pictures(folder: Path) -> None:
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            pictures(folder / split / name, 64 if split == "train" else 4, 32)


def cifar10(folder: Path) -> None:
    import pickle

    folder.mkdir(parents=True)
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        rng = np.random.default_rng(len(name))
        content = {b"data": rng.integers(0, 255, (20, 3072), dtype=np.uint8), b"labels": [k % 10 for k in range(20)]}
        (folder / name).write_bytes(pickle.dumps(content))
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": [b"%d" % k for k in range(10)]}))


def detector(path: Path, method: str = "") -> None:
    from location_anticipation import DetectorConfig, save_detector
    from location_anticipation.peers import PeerConfig, build_peer

    config = DetectorConfig(
        num_classes=10, horizon=0 if method else 8, backbone="resnet18", channels=32, representation=32, min_size=64,
        max_size=64,
    )  # fmt: skip
    path.parent.mkdir(exist_ok=True)
    peer = PeerConfig(method, flow_width=0.1, keyframe_step=8) if method else PeerConfig()
    digits = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    save_detector(path, build_peer(config, peer, None), digits)


def torchscript(path: Path) -> None:
    import torch

    class Found(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.tensor([[[200.0, 200.0, 90.0, 80.0, 0.9, 0.1]]]) + 0 * images.mean()

    torch.jit.script(Found()).save(str(path.parent / "detector.torchscript"))


def video_network(path: Path) -> None:
    from full_video import NetworkConfig, build_network, save_network
    from full_video.data import Augmentation, ClipConfig

    path.parent.mkdir(exist_ok=True)
    clips = ClipConfig(augmentation=Augmentation(size=32, resize=32))
    save_network(path, build_network(NetworkConfig(classes=2, width=8, clusters=4)), ["jump", "wave"], clips)


def video_list(path: Path) -> None:
    for number in range(4):
        clip(path.parent / "videos" / f"{path.stem}{number}.mp4")
    path.write_text("".join(f"{path.stem}{number}.mp4 {number % 2}\n" for number in range(4)))


def matching_network(path: Path) -> None:
    import torch

    from outlier_matching import NetworkConfig, build_network, save_network

    path.parent.mkdir(exist_ok=True)
    network = build_network(NetworkConfig("small", embedding=16, width=32, trained="all", size=32))
    references = [torch.nn.functional.normalize(torch.rand(4, 16)) for _ in range(3)]
    save_network(path, network, method="da_outlier_detection", references=references)


def built(*options: str) -> Callable[[Path], None]:
    """Makes the split of a generated data set, with its folder's name as that of the file."""

    def make(path: Path) -> None:
        folder = path if path.suffix == "" else path.parent
        call(f"synthdata build {shlex.join(options)} --out {folder}", path.parent)

    return make


def copied(pattern: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(next(ROOT.glob(pattern)))


MOVE = ("move4mnist", "--train", "24", "--test", "8")
PLACEHOLDERS: dict[str, dict[str, Callable[[Path], Any]]] = {
    "location_anticipation": {
        "clip.mp4": clip, "run/detector.safetensors": detector, "own.py:make": torchscript,
        "run_dff/detector.safetensors": lambda path: detector(path, "dff"),
        "test.h5": built("moving-digits", "--train", "1", "--test", "4"),
    },
    "full_video": {
        "clip.mp4": clip, "run/network.safetensors": video_network, "train.txt": video_list, "test.txt": video_list,
        "classes=names.txt": lambda path: (path.parent / "names.txt").write_text("wave\njump\n"),
        "settings.yaml": lambda path: path.write_text("network: {width: 8}\ntraining: {epochs: 1, batch_size: 2}\n"),
        "easy/train.h5": built(*MOVE, "--frames", "8", "--speeds", "2", "--spread", "0"), "data/train.h5": built(*MOVE),
    },
    "outlier_matching": {"queries/": pictures, "photos/": pictures, "run/network.safetensors": matching_network},
    "weight_align": {"cifar10/": labelled_pictures, "cifar-10-batches-py": cifar10},
    "datasets": {
        "DIR": Path.mkdir,
        "pitts/test.h5": lambda path: call(PITTS.format(path.parent), path.parents[1]),
    },
    "efficiency_bench": {"table2_1.csv": copied("results/reference/*/table2_1.csv")},
}  # fmt: skip
"""Files and folders that stand for the reader's own, or for those of commands that are not run, by README."""
PITTS = "synthdata build pitts-cyclegan --train 90 --test 40 --places 6 --places-test 3 --size 16 20 --network-steps 2 --out {}"


def call(command: str, folder: Path) -> str:
    """Runs a command; its output."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("EFF", "PYTEST"))}
    environment |= {"OMP_NUM_THREADS": "1", "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


def run(name: str, folder: Path, chosen: Callable[[str], bool]) -> list[str]:
    """Runs the chosen commands of a README in order and prints their times; those that were run."""
    makers, ran = PLACEHOLDERS.get(name, {}), []
    for step in steps(READMES[name]):
        if step.file:
            (folder / step.file).write_text(step.text)
        elif why_not(step.text) is None and chosen(step.text):
            for word in shlex.split(step.text, comments=True):
                path = folder / word
                if word in makers and not path.exists():
                    makers[word](path)
            start = time.perf_counter()
            call(step.text, folder)
            print(f"{time.perf_counter() - start:6.0f} s  {step.text}", flush=True)
            ran.append(step.text)
    return ran


def program(name: str) -> Program:
    module = import_module(PROGRAMS[name])
    found = getattr(module, "program", None) or import_module("efficiency_bench.commands").PROGRAM
    assert isinstance(found, Program)
    return found


def test_every_command_has_the_options_that_it_is_called_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "settings.yaml").write_text("training: {epochs: 1}\n")
    parsed = 0
    for readme in READMES.values():
        for step in steps(readme):
            if step.file:
                (tmp_path / step.file).write_text(step.text)
                continue
            word, *arguments = shlex.split(step.text, comments=True)
            assert word in PROGRAMS or word in _OTHERS.split(), f"{step.where}: {step.text}"
            if word in PROGRAMS and "--help" not in arguments:
                chosen: Any = program(word)
                while isinstance(chosen, Program | Group):
                    assert arguments and arguments[0] in chosen.commands, f"{step.where}: {step.text}"
                    chosen = chosen.commands[arguments.pop(0)]
                module, options = chosen.options.split(":")
                parse_options(getattr(import_module(module), options), word, "", arguments, device=chosen.device)
                parsed += 1
    assert parsed > 30


def test_every_exception_is_still_needed() -> None:
    texts = [step.text for step in commands()]
    for pattern in (*NOT_RUN, *QUICK):
        assert any(re.match(pattern, text) for text in texts), pattern
    for name, makers in PLACEHOLDERS.items():
        words = {word for step in steps(READMES[name]) for word in shlex.split(step.text, comments=True)}
        assert makers.keys() <= words, (name, makers.keys() - words)


@pytest.mark.parametrize(
    "name", [name for name in READMES if name in ("datasets", "efficiency_bench", "efficiency_core")]
)
def test_quick_commands_run_as_printed(tmp_path: Path, name: str) -> None:
    assert run(name, tmp_path, lambda text: any(re.match(pattern, text) for pattern in QUICK))


@pytest.mark.slow
@pytest.mark.parametrize("name", READMES)
def test_all_commands_run_as_printed(tmp_path: Path, name: str) -> None:
    ran = run(name, tmp_path, lambda text: True)
    assert ran or name == "root"
