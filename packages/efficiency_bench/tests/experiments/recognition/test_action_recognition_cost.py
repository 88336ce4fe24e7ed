"""The cost of a video: multiply-adds by hand, and memory that is the same with and without data."""

from dataclasses import replace

import pytest
import torch

from efficiency_bench.experiments.recognition.action_recognition_cost import Settings, time_metrics
from efficiency_bench.experiments.recognition.training_steps import CPU, Step, counted_peak, forward_macs, saved
from efficiency_bench.experiments.recognition.video_training import FORMS
from efficiency_bench.measure.memory import peak_live_bytes
from efficiency_bench.measure.speed import SpeedResult

SMALL = Step(Settings().network, frames=16, size=32, chunk=4)
FULL = replace(SMALL, frames=32, size=224)


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
        step = SMALL.training(form, CPU)
        for _ in range(2):
            step(SMALL.video(form, CPU, file=form.memory == "streamed"))

    torch.manual_seed(0)
    assert counted_peak(SMALL, form) == pytest.approx(peak_live_bytes(steps), rel=0.01)


def test_the_order_of_the_forms() -> None:
    """At the thesis's size: without data that costs no more than a small one, and weights do not drown the rest."""
    names = ("tsm8", "clustered8", "streamed8")
    peaks = {name: counted_peak(FULL, FORMS[name]) for name in names}
    assert peaks["tsm8"] < peaks["clustered8"]
    assert peaks["streamed8"] <= 0.70 * peaks["tsm8"]
    longer = counted_peak(replace(FULL, frames=64), FORMS["streamed8"])
    assert longer <= 1.02 * peaks["streamed8"], "it does not grow with the video"
    assert saved(FULL, FORMS["streamed8"]) < saved(FULL, FORMS["clustered8"]) / 2


def test_ratios_of_forms_that_were_timed_together() -> None:
    def took(*seconds: float) -> SpeedResult:
        return SpeedResult(seconds, 1, 0, 1, 1)

    metrics = time_metrics({"clustered8": took(1, 2, 1), "streamed8": took(1.5, 3, 1.2), "tsm_all": took(2, 4, 2)})
    assert metrics["time_over_plain_streamed8"].value == pytest.approx(1.5)
    assert metrics["time_over_tsm_all_streamed8"].value == pytest.approx(0.75)
    assert metrics["seconds_tsm_all"].value == 2 and "time_over_plain_clustered8" not in metrics
