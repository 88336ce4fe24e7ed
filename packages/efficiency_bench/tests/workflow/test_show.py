"""Tables for a terminal."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from efficiency_bench.workflow.show import show_table
from efficiency_core.errors import UsageError

CSV = """method,reference,map_reported,map_reported_std,map,map_std,fps_reported,fps,fps_std,\
seeds,dataset,preset,device,fps_p10,fps_p90,seeds_by_cell,dataset_by_cell,scale,units,status,note
Base,[1],73.6,0.20,62.0,2.0,,7.10,,3,"Digits (sklearn), stand-in for MNIST",quick,Epic CPU,6.90,7.30,map: 3; fps: 1,\
"map: Digits (sklearn), stand-in for MNIST; fps: no data set","map: ResNet-18, 64 px; fps: ResNet-101, 600x1000 px",,measured,
Theirs,,84.5,,,,,,,,,,,,,,,,,reported_only,needs their code
Ours,,87.2,,72.0,2.0,,8.25,,3,"Digits (sklearn), stand-in for MNIST",quick,Epic CPU,,,map: 3; fps: 1,\
"map: Digits (sklearn), stand-in for MNIST; fps: no data set","map: ResNet-18, 64 px; fps: ResNet-101, 600x1000 px",,measured,\
on stand-in data
"""
YAML = """
table: "2.4"
caption: State of the art
source: the thesis
keys: {method: Methods, reference: Methods}
metrics:
  map: {header: mAP (%), unit: "%", printed: true, digits: 1, higher_is_better: true}
  fps: {header: Runtime, unit: frames/s, printed: false, digits: 2, higher_is_better: true}
rows: [{id: base, keys: {method: Base}, missing: needs much}]
"""
Show = Callable[..., str]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table2_4.csv"
    path.write_text(CSV, encoding="utf-8")
    path.with_suffix(".yaml").write_text(YAML, encoding="utf-8")
    return path


@pytest.fixture
def show(table: Path) -> Show:
    """What is printed of the table, without blanks at the ends of lines."""

    def printed(width: int = 120, folder: Path = table.parent, **options: bool) -> str:
        file = io.StringIO()
        show_table(table, folder, Console(file=file, width=width, highlight=False, **options))  # type: ignore[arg-type]
        return "\n".join(line.rstrip() for line in file.getvalue().splitlines())

    return printed


def test_thesis_and_measured_numbers_stand_side_by_side(show: Show) -> None:
    text = show().splitlines()
    assert text[:2] == ["Table 2.4", "State of the art"]
    head = next(at for at, line in enumerate(text) if line.split() == ["mAP", "(%)", "Runtime,", "frames/s"])
    assert text[head + 1].split() == ["Methods", "thesis", "measured", "measured", "status"]
    assert [line.split() for line in text[head + 3 : head + 6]] == [
        ["Base", "[1]", "73.6", "±", "0.20", "62.0", "±", "2.0", "7.10", "(6.90", "to", "7.30)", "measured"],
        ["Theirs", "84.5", "thesis", "only", "[1]"],
        ["Ours", "87.2", "72.0", "±", "2.0", "8.25", "measured", "[2]"],
    ]
    place = text[head + 1].index("measured")
    assert all(text[head + at].index(number) == place for at, number in ((3, "62.0"), (5, "72.0"))), "under its name"
    assert "[1] needs their code" in text and "[2] on stand-in data" in text


def test_what_was_measured_comes_before_the_numbers(show: Show) -> None:
    above = show().split("Methods")[0].splitlines()
    assert [line.split(maxsplit=1) for line in above[3:] if line.strip()][:8] == [
        ["data", "Digits (sklearn), stand-in for MNIST (map)"],
        ["no", "data set (fps)"],
        ["scale", "ResNet-18, 64 px (map)"],
        ["ResNet-101,", "600x1000 px (fps)"],
        ["preset", "quick"],
        ["seeds", "3 (map)"],
        ["1", "(fps)"],
        ["device", "Epic CPU"],
    ]


def test_smoke_says_first_that_its_numbers_mean_nothing(table: Path, show: Show) -> None:
    assert "mean nothing" not in show()
    table.write_text(CSV.replace("quick", "smoke"), encoding="utf-8")
    text = show()
    assert text.index("smoke: the numbers mean nothing") < text.index("data ")


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_every_number_is_there_at_every_width(show: Show, width: int) -> None:
    text = show(width)
    assert all(len(line) <= width for line in text.splitlines())
    words = text.split()
    for number in ("73.6", "62.0", "84.5", "87.2", "72.0", "7.10", "8.25"):
        assert words.count(number) == 1, number
    assert "…" not in text


def test_a_wide_table_continues_below_with_the_rows_that_have_numbers_there(show: Show) -> None:
    first, second = show(70).split("status")[1:3]
    assert "Theirs" in first and "Theirs" not in second and "8.25" in second


def test_colour_is_for_terminals_that_want_it(show: Show, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[" not in show(), "not in a pipe"
    assert "\x1b[1;31" in show(force_terminal=True) or "\x1b[33m" in show(force_terminal=True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[33m" not in show(force_terminal=True)


def test_values_that_differ_in_every_row_are_not_all_listed(table: Path, show: Show) -> None:
    columns = "method,map_reported,map,map_std,seeds,dataset,preset,device,scale,status,note"
    rows = [f'm{n},,{n},,1,,cpu,Epic CPU,"ResNet-{n}, 32 px",measured,' for n in range(6)]
    table.write_text("\n".join([columns, *rows]), encoding="utf-8")
    assert "scale   32 px, more differs by row" in show(folder=table.parent / "nowhere")


def test_without_its_file_a_table_has_the_names_of_its_columns(show: Show, tmp_path: Path) -> None:
    text = show(folder=tmp_path / "nowhere")
    assert text.startswith("table2_4\n") and "map" in text.split() and "method" in text.split()


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    with pytest.raises(UsageError, match="cannot be read"):
        show_table(path, tmp_path, Console())
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UsageError, match="expected a table that `effbench tabulate` wrote"):
        show_table(path, tmp_path, Console())


def test_a_column_that_is_missing_is_named(table: Path, show: Show) -> None:
    table.write_text(CSV.replace("fps_reported,fps,", "fps_reported,speed,", 1), encoding="utf-8")
    with pytest.raises(UsageError, match=r"table2_4\.csv: lacks the column 'fps' of .*table2_4\.yaml; remove it"):
        show()
