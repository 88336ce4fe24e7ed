"""A training that is killed, continued or made longer ends with the numbers of one in a single piece."""

import logging
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_task import TinyConfig, TinyTask, digest, train

from efficiency_core.checkpoint import read_tensors, write_tensors
from efficiency_core.errors import UsageError, WorkError
from efficiency_core.files import locked
from efficiency_core.loop.accelerator import Accelerator
from efficiency_core.loop.config import recipe
from efficiency_core.loop.finished import make_thin
from efficiency_core.loop.runner import run

SHORT = TinyConfig(epochs=2, checkpoint_every=3, workers=2)


@pytest.mark.parametrize(
    "config",
    [
        SHORT,
        replace(SHORT, reading="processes"),
        replace(SHORT, reading="processes", per_epoch=True),
        replace(SHORT, reading="here", reseeds=False, precision="bf16-mixed"),
    ],
    ids=["threads", "processes", "per-epoch", "random-state"],
)
def test_killed_at_any_moment(config: TinyConfig, tmp_path: Path, killed) -> None:
    whole = digest(*train(tmp_path / "whole", config))
    for step in (2, 5, 8):  # before the first checkpoint, at the end of an epoch, after two checkpoints
        killed(tmp_path / "pieces", replace(config, kill_at=step))
    assert read_tensors(tmp_path / "pieces" / "training.pt", "tiny.training/2")["step"] == 6
    assert digest(*train(tmp_path / "pieces", config)) == whole
    other = replace(config, reading="here") if config.reading != "here" else replace(config, checkpoint_every=4)
    assert digest(*train(tmp_path / "other", other)) == whole  # neither workers nor checkpoints change a number


def test_finished_training_is_made_longer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = digest(*train(tmp_path / "whole", replace(SHORT, epochs=4)))
    train(tmp_path / "pieces", replace(SHORT, steps=7))  # ends inside an epoch
    train(tmp_path / "pieces", SHORT)
    assert digest(*train(tmp_path / "pieces", replace(SHORT, epochs=4))) == whole
    again, result = train(tmp_path / "pieces", replace(SHORT, epochs=4))
    assert digest(again, result) == whole and again.calls == []  # only loaded
    assert "learning rate" not in caplog.text
    with pytest.raises(UsageError, match=r"has taken 20 steps, 10 are asked for"):
        train(tmp_path / "pieces", SHORT)


def test_schedule_that_depends_on_the_length_warns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = replace(SHORT, schedule="cosine")
    train(tmp_path, config)
    _, result = train(tmp_path, replace(config, epochs=3))
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert result.steps == 15 and len(warnings) == 1
    assert "first 10 steps had the rates of 10 steps, the others get those of 15" in warnings[0].getMessage()


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    train(tmp_path, SHORT)
    with pytest.raises(UsageError, match=r"other settings \(train.learning_rate \(0.05, now 0.1\)\); choose another"):
        train(tmp_path, replace(SHORT, learning_rate=0.1))
    train(tmp_path, replace(SHORT, workers=0, checkpoint_every=50, log_every=1))
    odd = {"weights": None, "train": {**recipe(SHORT), "new": 1}}
    with Accelerator("cpu", SHORT) as accelerator, pytest.raises(UsageError, match=r"one has: data, train.*, weights"):
        run(TinyTask(accelerator, SHORT), SHORT, tmp_path, odd)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is a file; checkpoints need a folder"):
        train(tmp_path / "file", SHORT)
    with (
        locked(tmp_path),
        pytest.raises(UsageError, match=rf"^{tmp_path}: process {os.getpid()} on .* works in this folder"),
    ):
        train(tmp_path, SHORT)


def test_not_finite_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(WorkError, match=r"the loss is not finite at step 1 \(square nan .*no checkpoint yet"):
        train(tmp_path / "early", replace(SHORT, poison_at=1))
    with pytest.raises(WorkError, match=r"the loss is not finite at step 4 .*training.pt is from before"):
        train(tmp_path, replace(SHORT, poison_at=4))
    content = read_tensors(tmp_path / "training.pt", "tiny.training/2")
    assert content["step"] == 3 and content["task"]["model"]["0.weight"].isfinite().all()


@pytest.mark.parametrize(
    ("clip_norm", "what"), [(1.0, "gradient is not finite at step 0"), (0.0, "weight is not finite")]
)
def test_gradient_that_is_not_finite(clip_norm: float, what: str, tmp_path: Path) -> None:
    class Steep(TinyTask):
        def losses(self, batch, step):
            nothing = self.model[5].bias.sum() * 0
            return {"square": nothing.abs().sqrt(), "absolute": nothing}  # 0, with an infinite slope

    config = replace(SHORT, clip_norm=clip_norm, steps=1)
    with Accelerator("cpu", config) as accelerator, pytest.raises(WorkError, match=what):
        run(Steep(accelerator, config), config, tmp_path, {})
    assert not (tmp_path / "training.pt").exists()


def test_callbacks_and_early_end(tmp_path: Path, killed) -> None:
    config = replace(SHORT, epochs=3, end_after=2, checkpoint_every=100)
    task, result = train(tmp_path / "whole", config)
    epochs = [count for what, count in task.calls if what == "epoch"]
    assert (result.steps, result.ended, len(result.epochs), epochs) == (10, True, 2, [0, 1, 2])
    assert [count for what, count in task.calls if what == "step"] == list(range(11))
    assert train(tmp_path / "whole", config)[1].ended
    killed(tmp_path / "killed", replace(config, kill_at=7))
    task, _ = train(tmp_path / "killed", config)  # no checkpoint yet: all of them again
    assert [count for what, count in task.calls if what == "epoch"] == [0, 1, 2]


def test_torch_state_is_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    train(tmp_path, SHORT)
    assert torch.equal(torch.rand(2), expected)


def test_times_are_those_of_the_device_that_trains(tmp_path: Path, killed, caplog: pytest.LogCaptureFixture) -> None:
    killed(tmp_path, replace(SHORT, kill_at=7))
    path = tmp_path / "training.pt"
    content = read_tensors(path, "tiny.training/2")
    (device,) = content["pace"]
    assert content["pace"][device][0] == 6 and device.endswith(f", {torch.get_num_threads()} threads")
    write_tensors(path, content | {"pace": {"cpu of elsewhere, 64 threads": [6, 6000.0]}})
    _, result = train(tmp_path, SHORT)
    assert result.steps == 10 and result.device == device and result.seconds < 6000, "of the four steps here"
    assert "steps were taken on cpu of elsewhere, 64 threads: times will be those of cpu of " in caplog.text
    content = read_tensors(path, "tiny.training/2")
    taken = {name: steps for name, (steps, _) in content["pace"].items()}
    assert taken == {"cpu of elsewhere, 64 threads": 6, device: 4} == make_thin(path)
    assert result.seconds == pytest.approx(content["pace"][device][1] / 4 * 10)
    write_tensors(path, content | {"pace": {"cpu of elsewhere, 64 threads": [10, 6000.0]}})
    _, loaded = train(tmp_path, SHORT)
    assert (loaded.device, loaded.seconds) == ("cpu of elsewhere, 64 threads", 6000), "none was taken here"


def test_a_thin_checkpoint_is_loaded_and_not_made_longer(tmp_path: Path) -> None:
    task, result = train(tmp_path, SHORT)
    path, network = tmp_path / "training.pt", tmp_path / "network.safetensors"
    whole, size = digest(task, result), path.stat().st_size
    task.save(network)
    make_thin(path)
    content = read_tensors(path, "tiny.training/2")
    assert content["task"]["model"] == {} and content["task"]["optimizers"] == [None] and path.stat().st_size < size
    make_thin(path)  # it is thin already
    again, loaded = train(tmp_path, SHORT)
    assert digest(again, loaded) == whole and again.calls == []
    with pytest.raises(UsageError, match=r"training.pt: the training has ended and cannot be made longer; delete "):
        train(tmp_path, replace(SHORT, epochs=3))
    network.write_bytes(network.read_bytes()[:-1] + b"x")
    with pytest.raises(UsageError, match=r"network.safetensors: is not the network that this training has left"):
        train(tmp_path, SHORT)


def test_what_no_network_file_holds_stays_in_a_thin_checkpoint(tmp_path: Path, killed) -> None:
    killed(tmp_path, replace(SHORT, kill_at=7))
    before = (tmp_path / "training.pt").read_bytes()
    assert list(make_thin(tmp_path / "training.pt").values()) == [6]
    assert (tmp_path / "training.pt").read_bytes() == before, "it has not ended"
    task, result = train(tmp_path, SHORT)
    make_thin(tmp_path / "training.pt")
    assert digest(*train(tmp_path, SHORT)) == digest(task, result)
