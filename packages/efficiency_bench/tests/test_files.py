import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest

from efficiency_bench.errors import WorkError
from efficiency_bench.files import atomic_write, write_json, write_text


def test_the_file_appears_whole_with_its_parents(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "table.csv"
    with atomic_write(target) as temporary:
        assert temporary.parent == target.parent
        assert temporary.suffix == ".csv"
        temporary.write_text("x\n")
        assert not target.exists()
    assert target.read_text() == "x\n"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("error", [RuntimeError("diverged"), KeyboardInterrupt(), FileNotFoundError(2, "no", "in")])
def test_a_failure_passes_through_and_leaves_the_old_file_alone(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "record.json"
    target.write_text("old")
    with pytest.raises(type(error)) as raised, atomic_write(target) as temporary:
        temporary.write_text("half")
        raise error
    assert raised.value is error
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_disk_is_one_clear_line(tmp_path: Path, number: int) -> None:
    target = tmp_path / "train.h5"
    with (
        pytest.raises(WorkError, match=r"could not write .*train\.h5: ") as raised,
        atomic_write(target) as temporary,
    ):
        temporary.write_bytes(b"half")
        raise OSError(number, "some library's own words")
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_a_write_the_system_really_cuts_short_leaves_nothing(tmp_path: Path) -> None:
    code = (
        "import resource, sys\n"
        "from efficiency_bench.errors import WorkError\n"
        "from efficiency_bench.files import write_text\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n    write_text(sys.argv[1], 'x' * 100_000)\n"
        "except WorkError as error:\n    print(error)\n"
    )
    target = tmp_path / "big.txt"
    done = subprocess.run([sys.executable, "-c", code, str(target)], capture_output=True, text=True, check=True)
    assert done.stdout == f"could not write {target}: File too large\n"
    assert list(tmp_path.iterdir()) == []


def test_a_file_where_a_folder_is_needed(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file")
    with pytest.raises(WorkError, match="could not write"):
        write_text(tmp_path / "results" / "table.csv", "x")


def test_a_folder_where_the_file_should_go(tmp_path: Path) -> None:
    (tmp_path / "table.csv").mkdir()
    with pytest.raises(WorkError, match="a folder has this name"):
        write_text(tmp_path / "table.csv", "x")


def test_a_block_that_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(WorkError, match="nothing was written"), atomic_write(tmp_path / "x.png"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_json_round_trip(tmp_path: Path) -> None:
    value = {"b": [1, 2.5, None], "a": "Größe"}
    write_json(tmp_path / "x.json", value)
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    assert json.loads(text) == value
    assert text.endswith("}\n") and "Größe" in text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}])
def test_what_json_cannot_hold_is_refused(tmp_path: Path, value: object) -> None:
    with pytest.raises(WorkError, match="not valid JSON"):
        write_json(tmp_path / "x.json", {"value": value})
    assert list(tmp_path.iterdir()) == []
