"""The cost of a video: multiply-adds by hand, and memory that is the same with and without data."""

import pytest
import torch

from efficiency_bench.experiments.action_recognition_cost import (
    FORMS,
    Settings,
    _training,
    _video,
    counted_peak,
    forward_macs,
    saved,
    time_metrics,
)
from efficiency_bench.memory import peak_live_bytes
from efficiency_bench.speed import SpeedResult

SMALL = Settings(image_size=32, timed=False, frames=16)
CPU = torch.device("cpu")


def test_multiply_adds_of_a_resnet_18() -> None:
    """At 32x32 a ResNet-18 has 1/49 of the convolutions of 224x224: 1,813,561,344 without the classifier."""
    macs, skipped = forward_macs(SMALL, FORMS["tsm8"])
    convolutions = 8 * 1_813_561_344 // 49
    classifier = 8 * 512 * 4
    elementwise = macs - convolutions - classifier
    # Batch normalisation, two operations an element: 2,483,712 elements of all layers at 224x224.
    assert 2 * 8 * 2_483_712 // 49 <= elementwise <= 1.05 * 2 * 8 * 2_483_712 // 49
    assert set(skipped) <= {"aten::max_pool2d", "aten::mean"}


def test_clustering_spares_the_stages_behind_it() -> None:
    every, _ = forward_macs(SMALL, FORMS["tsm_all"])
    eight, _ = forward_macs(SMALL, FORMS["tsm8"])
    grouped, _ = forward_macs(SMALL, FORMS["clustered8"])
    assert every == 2 * eight
    # Half of the frames are spared the tail: the stem, 580,386,816 multiply-adds at 224x224, runs on all 16.
    stem = 580_386_816 // 49
    assert grouped - eight == pytest.approx(8 * stem, rel=0.02)


@pytest.mark.parametrize("name", ["tsm8", "clustered8", "streamed8"])
def test_memory_counted_without_data_is_that_with_data(name: str) -> None:
    form = FORMS[name]

    def steps() -> None:
        step = _training(SMALL, form, CPU)
        for _ in range(2):
            step(_video(16, form, 32, CPU, file=form.memory == "streamed"))

    torch.manual_seed(0)
    assert counted_peak(SMALL, form, 16) == pytest.approx(peak_live_bytes(steps), rel=0.01)


def test_the_order_of_the_forms() -> None:
    """At the thesis's size: without data that costs no more than a small one, and weights do not drown the rest."""
    full = Settings(timed=False)
    names = ("tsm8", "clustered8", "streamed8")
    peaks = {name: counted_peak(full, FORMS[name], 32) for name in names}
    assert peaks["tsm8"] < peaks["clustered8"]
    assert peaks["streamed8"] <= 0.70 * peaks["tsm8"]
    assert counted_peak(full, FORMS["streamed8"], 64) <= 1.02 * peaks["streamed8"], "it does not grow with the video"
    assert saved(full, FORMS["streamed8"]) < saved(full, FORMS["clustered8"]) / 2


def test_ratios_of_forms_that_were_timed_together() -> None:
    def took(*seconds: float) -> SpeedResult:
        return SpeedResult(seconds, 1, 0, 1, 1, "cpu")

    metrics = time_metrics({"clustered8": took(1, 2, 1), "streamed8": took(1.5, 3, 1.2), "tsm_all": took(2, 4, 2)})
    assert metrics["time_over_plain_streamed8"].value == pytest.approx(1.5)
    assert metrics["time_over_tsm_all_streamed8"].value == pytest.approx(0.75)
    assert metrics["seconds_tsm_all"].value == 2 and "time_over_plain_clustered8" not in metrics


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"forms": ("tsm9",)}, "unknown form 'tsm9'; there are tsm8, "),
        ({"forms": ()}, "at least one form"),
        ({"frames": 8}, "frames must be at least 16, got 8"),
        ({"long_frames": 16}, "long_frames must be 0 or at least 32 frames, got 16"),
    ],
)
def test_settings_that_make_no_sense_are_refused(values: dict[str, object], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        Settings(**values)  # type: ignore[arg-type]
