"""Settings, seeds, schedules and fingerprints."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from efficiency_core.errors import UsageError
from efficiency_core.loop.config import LoopConfig, check_choice, check_positive, check_same, fingerprint_text, recipe
from efficiency_core.loop.schedule import rate_at
from efficiency_core.loop.seeds import epoch_order, torch_seed


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"precision": "64-true"}, "precision must be one of 32-true, bf16-mixed, 16-mixed, auto, got '64-true'"),
        ({"devices": 0}, "devices must be 1 or more, got 0"),
        ({"workers": -1}, "workers must be 0 or more, got -1"),
        ({"clip_norm": float("nan")}, "clip_norm must be 0 or more, got nan"),
    ],
)
def test_settings_are_checked(settings: dict, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        LoopConfig(**settings)


def test_checks_and_recipe() -> None:
    @dataclass(frozen=True)
    class Config(LoopConfig):
        epochs: int = 3
        milestones: tuple[int, ...] = (1, 2)

    assert recipe(Config(workers=7), "epochs") == {
        "seed": 0, "precision": "32-true", "devices": 1, "clip_norm": 0.0, "milestones": [1, 2]
    }  # fmt: skip
    check_positive(Config(), "epochs")
    with pytest.raises(ValueError, match="clip_norm must be positive, got 0"):
        check_positive(Config(), "clip_norm")
    with pytest.raises(ValueError, match="epochs must be one of 1, 2, got 3"):
        check_choice(Config(), "epochs", (1, 2))


def test_settings_need_no_torch() -> None:
    code = "import sys; from efficiency_core.loop import config, schedule, seeds; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_schedules() -> None:
    warm = [rate_at(step, 10, 0.4, warmup=4, drops=[5, 8]) for step in range(10)]
    assert warm == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.04, 0.04, 0.04, 0.004, 0.004])
    assert rate_at(5, 10, 0.4, schedule="cosine") == pytest.approx(0.2)
    assert rate_at(5, 10, 0.4, schedule="poly", power=2.0) == pytest.approx(0.1)
    assert rate_at(0, 10, 0.4, schedule="cosine") == rate_at(0, 10, 0.4, schedule="poly") == 0.4


def test_seeds_are_what_they_were() -> None:
    assert [torch_seed(0, 0), torch_seed(3, 17)] == [5769891174451087230, 1216597555420132719]
    assert len({torch_seed(0, 5, rank) for rank in range(4)}) == 4 and torch_seed(0, 5) == torch_seed(0, 5, 0)
    order = epoch_order(10, 2, 1)
    expected = np.random.default_rng(np.random.SeedSequence(2, spawn_key=(0, 1))).permutation(10)
    assert np.array_equal(order, expected) and not np.array_equal(order, epoch_order(10, 2, 2))
    with pytest.raises(ValueError, match="read-only"):
        order[0] = 1


def test_fingerprints() -> None:
    before = fingerprint_text(
        {"train": {"rate": np.float64(0.5), "to": Path("a")}, "data": list(range(20)), "n": np.int64(3)}
    )
    assert before == fingerprint_text({"n": 3, "data": list(range(20)), "train": {"to": "a", "rate": 0.5}})
    check_same(Path("x.pt"), before, before)
    after = fingerprint_text({"train": {"rate": 0.25, "to": "a", "new": 1}, "data": list(range(21)), "n": 3})
    with pytest.raises(UsageError) as error:
        check_same(Path("x.pt"), before, after)
    assert str(error.value) == (
        "x.pt: belongs to a run with other settings (data, train.rate (0.5, now 0.25), another version or kind, settings that "
        "only one has: train.new); choose another folder or delete it"
    )
    with pytest.raises(TypeError, match="plain values, not set"):
        fingerprint_text({"x": {1}})
