"""Every kind of test: holds, does not hold, undecided, too few seeds, and not run, with numbers computed by hand."""

from typing import Any

import pytest

from efficiency_core.errors import UsageError

OURS, BASE, SHORT, SHORTER = (f"table2_4/{row}/map" for row in ("ours", "base", "short", "shorter"))
NEEDS = (
    "needs `snakemake results/claims/one.csv --config preset=cpu`; digits needs Digits under data_root, elsewhere digits_small "
    "stands in"
)


def test_an_order_holds_if_every_neighbour_is_clearly_above_the_next(house: Any) -> None:
    house.put(OURS, [80.0, 81.0, 82.0])
    house.put(SHORT, [78.0, 79.5, 79.5])  # 2, 1.5, 2.5 below: 2 ± 2.92 * 0.5 / sqrt(3) = 2 ± 0.843
    house.put(BASE, [70.0, 70.0, 70.0])
    found = house.verdict({"kind": "order", "values": [OURS, SHORT, BASE]})
    assert (found.verdict, found.reason, found.seeds) == ("holds", "", "3")
    assert found.measured == (
        "mAP (%): ours 81 ± 1, short 79 ± 0.87, base 70 ± 0; ours - short 2 [1.157, 2.843]; short - base 9 [7.54, 10.46]"
    )
    assert len(found.records.split()) == 9 and found.rests_on == "table2_4"
    assert (found.preset, found.source, found.device) == ("cpu", "this build", "Epic CPU (2 threads)")
    assert found.dataset == "MovingDigits (sklearn-digits), digits_small"


def test_one_clearly_reversed_neighbour_decides_and_a_doubtful_one_does_not(house: Any) -> None:
    house.put(OURS, [80.0, 81.0, 82.0])
    house.put(SHORT, [80.5, 80.0, 83.0])  # -0.5, 1, -1: about 0
    house.put(BASE, [90.0, 90.0, 91.0])
    found = house.verdict({"kind": "order", "values": [OURS, SHORT]})
    assert found.verdict == "undecided"
    enough = "about 117 seeds of this mean and spread would decide"
    assert found.reason == f"ours - short -0.1667 [-1.921, 1.588] may be more than 0 or not ({enough})"
    assert house.verdict({"kind": "order", "values": [OURS, SHORT, BASE]}).verdict == "does not hold"
    assert house.verdict({"kind": "order", "values": [BASE, OURS, SHORT]}).verdict == "undecided"
    assert house.verdict({"kind": "order", "values": [BASE, OURS], "at_least": 9}).verdict == "undecided"
    assert house.verdict({"kind": "order", "values": [BASE, OURS], "at_least": 5}).verdict == "holds"


def test_pairs_of_seeds_decide_where_the_spread_over_seeds_is_wider_than_the_difference(house: Any) -> None:
    house.put(OURS, [60.0, 70.0, 80.0])
    house.put(BASE, [58.9, 69.0, 79.1])  # 1.1, 1.0, 0.9 below, while seeds differ by 10
    assert house.verdict({"kind": "order", "values": [OURS, BASE]}).verdict == "holds"


def test_too_few_seeds_of_a_training_never_decide(house: Any) -> None:
    house.put(OURS, [90.0])
    house.put(BASE, [10.0])
    found = house.verdict({"kind": "order", "values": [OURS, BASE]})
    assert (found.verdict, found.seeds) == ("undecided", "1")
    assert (
        found.reason == "1 seed; at least 3 are needed (preset cpu has them)"
        and "ours - base 80 (1 seed)" in found.measured
    )
    house.put(OURS, [90.0, 90.0])
    house.put(BASE, [10.0, 10.0])
    assert (
        house.verdict({"kind": "order", "values": [OURS, BASE]}).reason
        == "2 seeds; at least 3 are needed (preset cpu has them)"
    )


def test_a_value_that_no_record_has_is_not_run_and_says_what_it_needs(house: Any) -> None:
    found = house.verdict({"kind": "order", "values": [OURS, BASE]})
    assert (found.verdict, found.reason) == ("not run", NEEDS)
    assert (found.measured, found.dataset, found.preset, found.source, found.seeds, found.records) == ("",) * 6
    house.put(OURS, [80.0, 81.0, 82.0])
    found = house.verdict({"kind": "order", "values": [OURS, BASE]})
    assert (found.verdict, found.reason) == (
        "not run",
        NEEDS,
    ) and found.measured == "mAP (%): ours 81 ± 1, base (none)"
    found = house.verdict({"kind": "order", "values": [OURS, "table2_4/theirs/map"]})
    assert (found.verdict, found.reason) == ("not run", "theirs: needs their code")


def test_a_reversed_comparison_decides_even_if_another_was_not_run(house: Any) -> None:
    house.put(OURS, [80.0, 81.0, 82.0])
    house.put(BASE, [90.0, 91.0, 92.0])
    tests = [{"kind": "order", "values": [OURS, BASE]}, {"kind": "order", "values": [OURS, SHORT]}]
    assert house.verdict(*tests).verdict == "does not hold"
    assert house.verdict(*reversed(tests)).verdict == "does not hold"


@pytest.mark.parametrize(
    ("bounds", "verdict"),
    [
        ({"at_least": -1, "at_most": 1}, "holds"),
        ({"at_least": 0.9}, "does not hold"),
        ({"at_most": -0.9}, "does not hold"),
        ({"at_least": 0}, "undecided"),
    ],
)
def test_a_difference_is_close_if_its_interval_lies_in_the_range(
    house: Any, bounds: dict[str, float], verdict: str
) -> None:
    house.put(OURS, [80.0, 81.0, 82.0])
    house.put(BASE, [80.2, 81.0, 81.8])  # -0.2, 0, 0.2: 0 ± 0.337
    assert house.verdict({"kind": "difference", "values": [OURS, BASE], **bounds}).verdict == verdict


def test_a_ratio_is_the_mean_of_the_ratios_of_each_seed(house: Any) -> None:
    house.put(OURS, [50.0, 40.0, 30.0])
    house.put(BASE, [100.0, 80.0, 60.0])
    found = house.verdict({"kind": "ratio", "values": [OURS, BASE], "at_most": 0.5})
    assert found.verdict == "holds" and "ours / base 0.5" in found.measured
    assert house.verdict({"kind": "ratio", "values": [OURS, BASE], "at_most": 0.49}).verdict == "does not hold"


def test_an_interval_holds_for_each_of_its_values(house: Any) -> None:
    house.put(OURS, [80.0, 80.1, 80.2])
    house.put(BASE, [60.0, 70.0, 80.0])
    assert house.verdict({"kind": "interval", "values": [OURS], "at_least": 79}).verdict == "holds"
    assert house.verdict({"kind": "interval", "values": [OURS, BASE], "at_least": 65}).verdict == "undecided"
    assert house.verdict({"kind": "interval", "values": [OURS, BASE], "at_least": 90}).verdict == "does not hold"


def test_a_spread_is_the_largest_value_minus_the_smallest_of_each_seed(house: Any) -> None:
    house.put(OURS, [80.0, 80.0, 80.0])
    house.put(SHORT, [79.0, 81.0, 79.5])
    house.put(BASE, [80.5, 80.5, 80.5])  # spreads 1.5, 1, 1
    house.put(SHORTER, [60.0, 60.0, 60.0])
    places = [OURS, SHORT, BASE]
    assert house.verdict({"kind": "spread", "values": places, "at_most": 2}).verdict == "holds"
    assert house.verdict({"kind": "spread", "values": places, "at_most": 0.5}).verdict == "does not hold"
    assert house.verdict({"kind": "spread", "values": places, "at_most": 1.2}).verdict == "undecided"
    wide = {"kind": "spread", "values": [OURS, SHORTER], "than": places, "at_least": 0}  # 20 less 1.5, 1 and 1
    assert house.verdict(wide).verdict == "holds"
    assert house.verdict({**wide, "values": places, "than": [OURS, SHORTER]}).verdict == "does not hold"


def test_a_gap_is_one_difference_minus_another(house: Any) -> None:
    house.put(OURS, [80.0, 81.0, 82.0])
    house.put(SHORT, [75.0, 76.0, 77.0])
    house.put(BASE, [70.0, 71.0, 72.5])
    house.put(SHORTER, [69.0, 70.0, 71.0])  # (5, 5, 5) - (1, 1, 1.5)
    places = [OURS, SHORT, BASE, SHORTER]
    found = house.verdict({"kind": "gap", "values": places, "at_least": 0})
    assert found.verdict == "holds" and "(ours - short) - (base - shorter) 3.833" in found.measured
    turned = [BASE, SHORTER, OURS, SHORT]
    assert house.verdict({"kind": "gap", "values": turned, "at_least": 0}).verdict == "does not hold"
    assert house.verdict({"kind": "gap", "values": places, "at_least": 3.8}).verdict == "undecided"


def test_a_diverged_training_is_left_out_or_counts_as_the_number_that_the_test_gives(house: Any) -> None:
    ours, base = "table2_4/ours/error", "table2_4/base/error"
    house.put(ours, [10.0, 11.0, 12.0])
    house.put(base, [30.0, None, 31.0])
    found = house.verdict({"kind": "order", "values": [base, ours]})
    assert found.verdict == "undecided"
    assert (
        found.reason
        == "2 seeds; at least 3 are needed (preset cpu has them); base: seed 1 has no number: diverged at step 3"
    )
    assert house.verdict({"kind": "order", "values": [base, ours], "absent_as": 90}).verdict == "undecided"
    house.put(base, [None, None, None])
    assert house.verdict({"kind": "order", "values": [base, ours], "absent_as": 90}).verdict == "holds"
    assert house.verdict({"kind": "interval", "values": [base], "at_least": 85, "absent_as": 90}).verdict == "holds"
    found = house.verdict({"kind": "order", "values": [base, ours]})
    assert found.verdict == "not run" and "base: seed 0 has no number: diverged at step 3" in found.reason


def test_one_case_refutes_a_general_statement_and_three_seeds_support_it(house: Any) -> None:
    none_fails = {"kind": "interval", "values": [OURS], "at_most": 0, "basis": "cases"}
    house.put(OURS, [3.0])
    found = house.verdict(none_fails)
    assert (found.verdict, found.reason) == ("does not hold", "ours 3 is not at most 0")
    house.put(OURS, [0.0])
    assert house.verdict(none_fails).verdict == "undecided"
    house.put(OURS, [0.0, 0.0, 0.0])
    assert house.verdict(none_fails).verdict == "holds"
    house.put(OURS, [0.0, 0.0, 1e-3])
    assert house.verdict(none_fails).verdict == "does not hold"


def test_counts_need_one_record(house: Any) -> None:
    house.put_speeds({})
    counts = {"kind": "order", "values": ["table2_4/base/flops_g", "table2_4/ours/flops_g"], "basis": "counts"}
    found = house.verdict(counts)
    assert found.verdict == "holds" and found.measured.endswith("ours 10 GMAC; base - ours 30")
    assert house.verdict({**counts, "values": counts["values"][::-1]}).verdict == "does not hold"
    exact = {"kind": "interval", "values": ["table2_4/ours/flops_g"], "at_least": 9.9, "at_most": 10.1}
    assert house.verdict({**exact, "basis": "counts"}).verdict == "holds"


def test_timings_are_judged_by_their_percentiles_over_enough_rounds(house: Any) -> None:
    order = {"kind": "order", "values": ["table2_4/ours/speedup", "table2_4/base/speedup"], "basis": "rounds"}
    above = {"kind": "interval", "values": ["table2_4/ours/speedup"], "basis": "rounds"}
    house.put_speeds({"rounds": 5})
    assert house.verdict(order).verdict == "holds"
    assert house.verdict({**above, "at_least": 3.8}).verdict == "holds"
    assert house.verdict({**above, "at_least": 3.9}).verdict == "undecided"
    assert house.verdict({**above, "at_least": 4.2}).verdict == "does not hold"
    house.put_speeds({"rounds": 4})
    assert house.verdict(order).reason == "ours: 4 rounds; at least 5 are needed; base: 4 rounds; at least 5 are needed"
    house.put_speeds({"rounds": 5}, speedup_p90_base=(3.9, "x"))
    assert house.verdict(order).verdict == "undecided", "the two overlap"


def test_printed_numbers_are_compared_without_records(house: Any) -> None:
    gain = {"kind": "difference", "values": [OURS, "table2_4/theirs/map"], "basis": "printed"}
    found = house.verdict({**gain, "at_least": 2.65, "at_most": 2.75})
    assert (found.verdict, found.source, found.records, found.preset) == ("holds", "thesis", "", "")
    assert found.measured == "mAP (%): ours 87.2, theirs 84.5; ours - theirs 2.7"
    assert house.verdict({**gain, "at_least": 3}).verdict == "does not hold"


def test_the_rule_of_a_claim_says_its_ranges_and_where_the_spread_comes_from(house: Any) -> None:
    tests = [
        {"kind": "order", "values": [OURS, BASE]},
        {"kind": "difference", "values": [OURS, SHORT], "at_least": -1, "at_most": 1},
        {"kind": "spread", "values": [OURS, SHORT], "than": [OURS, BASE], "at_most": 2},
        {"kind": "interval", "values": ["table2_4/ours/flops_g"], "at_least": 3, "basis": "counts"},
    ]
    rule = house.verdict(*tests).rule
    assert rule.startswith(
        "order: each value minus the next is more than 0. difference: the first value minus the second is within -1 to 1. "
        "spread: the largest value minus the smallest, less that of the other values, is at most 2. "
        "interval: each value is at least 3. A comparison takes the quantity of each seed"
    )
    assert "90 % t-interval" in rule and "one record is enough" in rule and "percentiles" not in rule
    assert rule.endswith("is not run if a value is missing, and is undecided otherwise.")


def test_a_metric_that_an_older_record_lacks_is_not_run(house: Any) -> None:
    house.put("fig3_5/one/purity", [1.0, 2.0, 3.0])
    assert house.verdict({"kind": "interval", "values": ["fig3_5/one/purity"], "at_least": 0}).verdict == "holds"
    found = house.verdict({"kind": "interval", "values": ["fig3_5/one/moved"], "at_least": 0})
    assert found.verdict == "not run"
    assert "the record of seed 0 has no moved: it is of an older version, run it again" in found.reason
    assert "needs `snakemake results/claims/one.csv --config preset=cpu`" in found.reason


def test_a_metric_with_another_unit_is_refused(house: Any) -> None:
    house.put(OURS, [0.8, 0.8, 0.8], unit="1")
    with pytest.raises(UsageError, match=r"metric 'video_map': expected the unit '%', got '1'"):
        house.verdict({"kind": "interval", "values": [OURS], "at_least": 0})
