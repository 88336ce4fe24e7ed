"""The file of claims: what is read from it, and that every mistake is refused with file, line and what was expected."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from efficiency_bench.claims import claim_runs, load_claims
from efficiency_bench.workflow.presets import check_claims, load_preset
from efficiency_core.errors import UsageError

MAP = "table2_4/ours/map"


def test_places_are_those_of_tables_and_panels(house: Any) -> None:
    tests = [
        {"kind": "interval", "values": [MAP, "table2_4/theirs/map"], "at_least": 0},
        {"kind": "interval", "values": ["fig3_5/one/purity", "fig3_5/two:second run/purity"], "at_least": 0},
    ]
    (claim,) = house.claims(*tests).claims
    assert (claim.id, claim.chapter, claim.rests_on) == ("one", 2, ("table2_4", "fig3_5"))
    cells = {place: cell for test in claim.tests for place, cell in test.cells.items()}
    ours, theirs, one, second = cells.values()
    assert (ours.metric, ours.unit, ours.header, ours.label, ours.printed) == (
        "video_map",
        "%",
        "mAP (%)",
        "ours",
        "87.2",
    )
    assert (theirs.choice, theirs.missing, theirs.printed) == (None, "needs their code", "84.5")
    assert (one.metric, one.unit, one.label) == ("purity", "", "purity")
    assert second.choice is not None and second.choice.settings == {"horizon": 5} and second.label == "second run"


def test_a_claim_may_have_more_seeds_than_its_table(house: Any) -> None:
    test = {"kind": "interval", "values": [MAP], "at_least": 0}
    claims = house.claims(test).claims
    path = house.workflows / "config" / "cpu.yaml"
    path.write_text(path.read_text() + "claim_seeds: {one: [0, 1, 2, 3, 4]}\n")
    preset = load_preset(path)
    assert [run.seed for run in claim_runs(claims, preset, {"digits": "digits-real"})] == [0, 1, 2, 3, 4]
    check_claims(preset, ["one"])
    with pytest.raises(UsageError, match=r"cpu\.yaml: claim_seeds: no claim or row 'one'"):
        check_claims(preset, ["two"])


def test_a_row_of_a_claim_may_have_more_seeds_than_the_rest(house: Any) -> None:
    claims = house.claims({"kind": "order", "values": [MAP, "table2_4/base/map"]}).claims
    path = house.workflows / "config" / "cpu.yaml"
    kept = path.read_text()
    path.write_text(kept + "claim_seeds: {one/base: [0, 4]}\n")
    preset = load_preset(path)
    check_claims(preset, claims[0].seeds_names)
    runs = claim_runs(claims, preset, {"digits": "digits-real"})
    assert [run.seed for run in runs] == [0, 1, 2, 0, 4]
    assert [run.settings["motion"] == "none" for run in runs] == [False, False, False, True, True]
    path.write_text(kept + "claim_seeds: {one/base: [0, 4], one: [5]}\n")
    runs = claim_runs(claims, load_preset(path), {"digits": "digits-real"})
    assert [run.seed for run in runs] == [5, 0, 4]
    path.write_text(kept + "claim_seeds: {one/bass: [0, 4]}\n")
    with pytest.raises(UsageError, match="no claim or row 'one/bass'"):
        check_claims(load_preset(path), claims[0].seeds_names)


def test_all_seeds_of_what_claims_rest_on_are_runs(house: Any) -> None:
    claims = house.claims(
        {"kind": "interval", "values": ["fig3_5/one/purity", MAP], "at_least": 0},
        {"kind": "interval", "values": ["table2_4/base/map"], "at_least": 0, "basis": "printed"},
    )
    runs = claim_runs(claims.claims, load_preset(house.workflows / "config" / "cpu.yaml"), {"digits": "digits-real"})
    assert [(run.settings["horizon"], run.seed) for run in runs] == [(3, 0), (3, 1), (3, 2), (8, 0), (8, 1), (8, 2)]


WRONG: list[tuple[Mapping[str, Any], str]] = [
    ({"values": ["table9_9/ours/map"]}, "no table or figure named 'table9_9'; there are table2_4, fig3_5"),
    ({"values": ["table2_4/our/map"]}, "no row in table2_4 named 'our'; there are ours, base, short, shorter, theirs"),
    ({"values": ["table2_4/ours/mAP"]}, "no metric in table2_4 named 'mAP'; there are map, error, speedup, flops_g"),
    ({"values": ["table2_4/short/error"]}, "row 'short' of table2_4 does not measure 'error'; it measures map"),
    ({"values": ["fig3_5/three/purity"]}, "no panel in fig3_5 named 'three'; there are one, two"),
    ({"values": ["fig3_5/two/purity"]}, "no part of panel 'two' in fig3_5 named ''; there are first run, second run"),
    ({"values": ["table2_4.ours.map"]}, "expected TABLE/ROW/METRIC such as table2_1/none/keyframe_map"),
    ({"kind": "trend"}, "expected one of order, difference, ratio, interval, spread, gap, got 'trend'"),
    ({"kind": "ratio"}, "ratio takes 2 values, got 1"),
    ({"kind": "order"}, "order takes at least 2 values, got 1"),
    ({"at_least": None}, "interval needs 'at_least', 'at_most' or both"),
    ({"at_least": "much"}, "expected a number, got 'much'"),
    ({"at_most": -1}, "at_least 0 is above at_most -1"),
    ({"kind": "order", "values": [MAP, MAP], "at_most": 3}, "order takes no 'at_most'"),
    ({"kind": "difference", "values": [MAP, "table2_4/ours/speedup"]}, "the values have different units: %, x"),
    ({"than": [MAP]}, "'than' goes with spread"),
    ({"basis": "guess"}, "expected seeds, cases, counts, rounds or printed, got 'guess'"),
    (
        {"basis": "counts"},
        "table2_4/ours/map comes from detection, which depends on the seed; expected the basis seeds",
    ),
    (
        {"basis": "rounds"},
        "table2_4/ours/map comes from detection, which depends on the seed; expected the basis seeds",
    ),
    ({"basis": "printed", "values": ["table2_4/short/map"]}, "the thesis prints no number at table2_4/short/map"),
    ({"kind": "spread", "values": [MAP, MAP], "basis": "rounds"}, "a spread of timings is not judged"),
    ({"kind": "spread", "values": [MAP, MAP], "basis": "cases"}, "the basis cases goes with interval, got spread"),
    ({"at_leats": 3}, "unknown key 'at_leats'; did you mean 'at_least'?"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG, ids=lambda value: value[:40] if isinstance(value, str) else "")
def test_a_mistake_in_a_test_is_refused_with_file_and_line(
    house: Any, changes: Mapping[str, Any], message: str
) -> None:
    test = {"kind": "interval", "values": [MAP], "at_least": 0} | changes
    with pytest.raises(UsageError) as raised:
        house.claims({key: value for key, value in test.items() if value is not None})
    text = str(raised.value)
    assert message in text and text.count("\n") == 0
    file, _, rest = text.partition(", line ")
    line = int(rest.partition(":")[0])
    assert file == str(house.workflows / "claims.yaml") and "claim 'one'" in rest
    assert 7 <= line <= len(Path(file).read_text().splitlines()), "a line of the test"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"chapter": "two"}, "expected the number of a chapter, 1 to 6, got 'two'"),
        ({"id": "No Name"}, "expected a snake_case name, got 'No Name'"),
        ({"thesis": ""}, "expected text, got ''"),
        ({"verdict": "holds"}, "unknown key 'verdict'"),
    ],
)
def test_a_mistake_in_a_claim_is_refused(house: Any, changes: Mapping[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=r"claims\.yaml, line \d+: .*") as raised:
        house.claims({"kind": "interval", "values": [MAP], "at_least": 0}, **changes)
    assert message in str(raised.value)


def test_no_two_claims_have_one_id(house: Any) -> None:
    house.claims({"kind": "interval", "values": [MAP], "at_least": 0})
    path = house.workflows / "claims.yaml"
    text = path.read_text()
    path.write_text(text + text.removeprefix("claims:\n"))
    with pytest.raises(UsageError, match=r"claims\.yaml, line \d+: claim 'one': an earlier claim has the same id"):
        load_claims(path)
