"""Which records judge a claim: preset, device, source and data."""

from typing import Any

import pytest
import yaml

from efficiency_bench.claims import judge
from efficiency_core.errors import UsageError

OURS, BASE = "table2_4/ours/map", "table2_4/base/map"
ORDER = {"kind": "order", "values": [OURS, BASE]}
KEPT = "results/reference/old-cpu/runs"
BOTH = ("results/runs", KEPT)
MORE = "results/reference/other-cpu/runs"
OTHER = {"type": "cpu", "name": "Other CPU", "threads": 1, "clock_mhz": None}
UP, DOWN = ([80.0, 81.0, 82.0], [70.0, 71.0, 72.0]), ([70.0, 71.0, 72.0], [80.0, 81.0, 82.0])


def put(house: Any, values: tuple[list[float], list[float]], **where: Any) -> None:
    for place, listed in zip((OURS, BASE), values, strict=True):
        house.put(place, listed, **where)


def plan_seeds(house: Any, preset: str, count: int) -> None:
    path = house.workflows / "config" / f"{preset}.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"seeds": list(range(count))}))


def test_this_build_judges_before_kept_records_and_pretrained_before_paper_before_cpu(house: Any) -> None:
    put(house, UP, preset="cpu", runs=KEPT)
    found = house.verdict(ORDER, folders=BOTH)
    assert (found.verdict, found.preset, found.source) == ("holds", "cpu", "old-cpu")
    put(house, DOWN, preset="cpu")
    found = house.verdict(ORDER, folders=BOTH)
    assert (found.verdict, found.preset, found.source) == ("does not hold", "cpu", "this build")
    assert house.verdict(ORDER, folders=BOTH[::-1]).source == "this build", "whatever the order of the folders"
    put(house, UP, preset="paper", runs=KEPT)
    assert house.verdict(ORDER, folders=BOTH).source == "this build", "whatever its preset"
    assert house.verdict(ORDER, folders=(KEPT,)).preset == "paper"
    put(house, DOWN, preset="pretrained", runs=KEPT)
    assert house.verdict(ORDER, folders=(KEPT,)).preset == "pretrained"
    put(house, UP, preset="paper")
    assert house.verdict(ORDER, folders=BOTH).preset == "paper"


def test_of_two_devices_the_one_with_most_seeds_judges(house: Any) -> None:
    plan_seeds(house, "paper", 4)
    put(house, UP, runs=KEPT, preset="paper")
    put(house, ([*DOWN[0], 73.0], [*DOWN[1], 83.0]), runs=MORE, preset="paper", device=OTHER)
    found = house.verdict(ORDER, folders=(KEPT, MORE))
    assert (found.verdict, found.seeds, found.source) == ("does not hold", "4", "other-cpu")
    put(house, UP, runs=KEPT, preset="pretrained")
    assert house.verdict(ORDER, folders=(KEPT, MORE)).preset == "pretrained", "whatever the seeds"


def test_verdicts_of_other_groups_stand_beside(house: Any) -> None:
    put(house, UP, preset="cpu")
    assert house.verdict(ORDER).elsewhere == ""
    put(house, ([70.0], [80.0]), preset="quick")
    assert house.verdict(ORDER).elsewhere == "", "one seed says nothing"
    put(house, DOWN, preset="paper", runs=KEPT)
    put(house, ([80.0, 81.0, 82.0], [80.5, 80.5, 82.5]), preset="pretrained", runs=KEPT)
    found = house.verdict(ORDER, folders=BOTH)
    data = "MovingDigits (sklearn-digits), digits_small; Epic CPU (2 threads)"
    assert (found.verdict, found.preset) == ("holds", "cpu")
    assert found.elsewhere == f"undecided (pretrained; {data}); does not hold (paper; {data})"


def test_enough_seeds_come_before_a_larger_preset(house: Any) -> None:
    put(house, ([70.0], [80.0]), preset="paper")
    assert house.verdict(ORDER).verdict == "undecided"
    put(house, UP, preset="cpu")
    found = house.verdict(ORDER)
    assert (found.verdict, found.preset) == ("holds", "cpu")
    put(house, ([70.0], [80.0]), preset="quick")
    assert house.verdict(ORDER).preset == "cpu"


def test_a_run_of_a_preset_counts_whichever_preset_it_was_made_with(house: Any) -> None:
    """Presets that agree on an experiment share its runs; the record names the one that ran first."""
    put(house, UP, preset="paper", label="cpu")
    found = house.verdict(ORDER)
    assert (found.verdict, found.preset) == ("holds", "cpu")


def test_smoke_and_other_presets_never_judge(house: Any) -> None:
    put(house, UP, preset="smoke")
    assert house.verdict(ORDER).verdict == "not run"
    put(house, UP, preset="cpu", label="custom")
    assert house.verdict(ORDER).verdict == "not run"
    put(house, UP, preset="cpu", label="smoke")
    assert house.verdict(ORDER).verdict == "not run"


def test_one_seed_is_of_one_device(house: Any) -> None:
    house.put(OURS, UP[0])
    house.put(BASE, UP[1], device=OTHER)
    assert house.verdict(ORDER).verdict == "not run"
    house.put(BASE, UP[1])
    assert (house.verdict(ORDER).verdict, house.verdict(ORDER).device) == ("holds", "Epic CPU (2 threads)")


def test_seeds_of_several_devices_judge_together(house: Any) -> None:
    plan_seeds(house, "cpu", 6)
    put(house, ([80.0, 81.0, 82.0], [79.0, 81.5, 81.5]), runs=KEPT)
    put(house, ([0.0, 0.0, 0.0, 83.0, 82.0, 81.0], [9.0, 9.0, 9.0, 82.0, 81.1, 80.0]), runs=MORE, device=OTHER)
    for seed in ("s0", "s1", "s2"):
        for path in house.runs(MORE).glob(f"*-{seed}.json"):
            path.unlink()
    assert house.verdict(ORDER, folders=(KEPT,)).verdict == "undecided"
    found = house.verdict(ORDER, folders=(KEPT, MORE))
    assert (found.verdict, found.seeds, found.source) == ("holds", "6", "old-cpu + other-cpu"), found.measured
    assert found.device == "Epic CPU (2 threads); Other CPU (1 thread)"
    data = "MovingDigits (sklearn-digits), digits_small"
    alone = f"undecided (cpu; {data}; Epic CPU (2 threads)); holds (cpu; {data}; Other CPU (1 thread))"
    assert found.elsewhere == alone
    assert [source for source, _ in found.runs] == [*["old-cpu"] * 3, *["other-cpu"] * 3] * 2
    assert all((house.runs(f"results/reference/{source}/runs") / f"{run}.json").is_file() for source, run in found.runs)


def test_further_seeds_count_where_another_test_has_none(house: Any) -> None:
    """Of two tests, the one that needs no further seeds keeps its three."""
    plan_seeds(house, "cpu", 6)
    short, shorter = "table2_4/short/map", "table2_4/shorter/map"
    put(house, ([80.0, 81.0, 82.0], [79.0, 81.5, 81.5]), runs=KEPT)
    for place, listed in ((short, UP[0]), (shorter, UP[1])):
        house.put(place, listed, runs=KEPT)
    tests = ORDER, {"kind": "order", "values": [short, shorter]}
    assert house.verdict(*tests, folders=(KEPT,)).verdict == "undecided"
    put(house, ([0.0, 0.0, 0.0, 83.0, 82.0, 81.0], [9.0, 9.0, 9.0, 82.0, 81.1, 80.0]), runs=MORE, device=OTHER)
    for seed in ("s0", "s1", "s2"):
        for path in house.runs(MORE).glob(f"*-{seed}.json"):
            path.unlink()
    found = house.verdict(*tests, folders=(KEPT, MORE))
    assert (found.verdict, found.seeds, found.source) == ("holds", "3", "old-cpu + other-cpu"), found.measured


def test_nodes_of_a_cluster_judge_together(house: Any) -> None:
    """One build whose jobs ran on two kinds of nodes."""
    put(house, UP)
    put(house, UP, device=OTHER)
    assert house.verdict(ORDER).device == "Other CPU (1 thread)"
    put(house, ([UP[0][0]], [UP[1][0]]))  # seed 0 again, on the first kind
    found = house.verdict(ORDER)
    assert (found.verdict, found.source, found.seeds) == ("holds", "this build", "3")
    assert found.device == "Epic CPU (2 threads); Other CPU (1 thread)"


def test_a_seed_on_other_contents_of_the_data_is_left_out(house: Any) -> None:
    put(house, ([80.0, 81.0], [70.0, 71.0]), runs=KEPT)
    put(house, UP, runs=MORE, device=OTHER, contents="b" * 64)
    found = house.verdict(ORDER, folders=(KEPT, MORE))
    assert (found.verdict, found.source) == ("holds", "other-cpu"), "alone it has three seeds"
    for path in house.runs(MORE).glob("*-s1.json"):
        path.unlink()
    assert house.verdict(ORDER, folders=(KEPT, MORE)).verdict == "undecided"


def test_times_of_several_devices_are_not_mixed(house: Any) -> None:
    table = house.workflows / "tables" / "table2_4.yaml"
    table.write_text(table.read_text().replace('{header: mAP (%), unit: "%"', "{header: training, unit: h"))
    put(house, ([80.0, 81.0], [70.0, 71.0]), runs=KEPT, unit="h")
    put(house, UP, runs=MORE, device=OTHER, unit="h")
    for path in house.runs(MORE).glob("*-s1.json"):
        path.unlink()
    assert house.verdict(ORDER, folders=(KEPT, MORE)).verdict == "undecided"


def test_real_data_judge_before_their_stand_in_and_are_not_mixed_with_it(house: Any) -> None:
    put(house, UP)
    put(house, DOWN, data="digits-real")
    assert house.verdict(ORDER).verdict == "does not hold"
    for path in house.runs().glob("*.json"):
        if '"digits-real"' in path.read_text() and '"motion": "none"' in path.read_text():
            path.unlink()
    found = house.verdict(ORDER)
    assert (found.verdict, found.dataset) == ("holds", "MovingDigits (sklearn-digits), digits_small")


def test_a_folder_that_is_not_there_is_refused(house: Any) -> None:
    claims = house.claims(ORDER)
    with pytest.raises(UsageError, match=r"no such folder; expected a folder of run records"):
        judge(claims, [house.folder / "nothing"])
    put(house, UP, runs=KEPT)
    with pytest.raises(UsageError, match=r"reference: holds no run records itself; did you mean .*old-cpu/runs\?"):
        judge(claims, [house.folder / "results" / "reference"])
