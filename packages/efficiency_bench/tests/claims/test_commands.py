"""`effbench claims --only` and `effbench show` with claims."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from efficiency_bench.claims import judge, load_claims, read_verdicts, write_verdicts
from efficiency_bench.cli import main
from efficiency_core.errors import UsageError

OURS, BASE = "table2_4/ours/map", "table2_4/base/map"


def run(*words: object) -> int | str | None:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return ended.value.code


@pytest.fixture
def claims(house: Any) -> Path:
    """A file of two claims, of which the first holds."""
    house.put(OURS, [80.0, 81.0, 82.0])
    house.put(BASE, [70.0, 71.0, 72.0])
    path: Path = house.claims({"kind": "order", "values": [OURS, BASE]}).path
    content = yaml.safe_load(path.read_text())
    second = {"id": "two", "tests": [{"kind": "order", "values": [BASE, OURS]}]}
    content["claims"].append(content["claims"][0] | second)
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def test_one_claim_is_judged_as_among_all(house: Any, claims: Path, capsys: pytest.CaptureFixture[str]) -> None:
    every = judge(load_claims(claims), [house.runs()])
    out = house.folder / "two.csv"
    assert not run("claims", house.runs(), "--claims", claims, "--only", "two", "--out", out)
    assert read_verdicts(out) == every[1:] and every[1].verdict == "does not hold"
    assert capsys.readouterr().out.startswith("1 claims: 0 holds, 1 does not hold")


def test_an_unknown_claim_is_refused(house: Any, claims: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = house.folder / "none.csv"
    assert run("claims", house.runs(), "--claims", claims, "--only", "tow", "--out", out) == 2
    assert capsys.readouterr().err == f"error: {claims}: no claim 'tow'; did you mean two?\n" and not out.exists()


def test_claims_are_shown_with_what_decides_them(house: Any, claims: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = house.folder / "claims.csv"
    write_verdicts(judge(load_claims(claims), [house.runs()]), out)
    run("show", out, "--width", "300")
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    measured = "mAP (%): ours 81 ± 1, base 71 ± 1; ours - base 10 [10, 10]"
    origin = "MovingDigits (sklearn-digits), digits_small; preset cpu; Epic CPU (2 threads); this build; 3 seeds"
    assert lines[:5] == [
        "one: holds",
        "claim     Ours is better.",
        "thesis    87.2 against 73.6 (table 2.4)",
        f"measured  {measured.partition(';')[0]}; ours - base 10",
        f"on        {origin}",
    ]
    assert lines[5] == "two: does not hold"
    assert lines[-1] == "because   base - ours -10 is not more than 0"


def test_another_file_is_no_file_of_claims(tmp_path: Path) -> None:
    (tmp_path / "claims.csv").write_text("id,claim\none,two\n")
    with pytest.raises(UsageError, match=r"claims.csv: expected a column 'chapter', got id, claim"):
        read_verdicts(tmp_path / "claims.csv")
