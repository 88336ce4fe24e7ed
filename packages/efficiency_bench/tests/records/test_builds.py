"""What Snakemake is told: what is old, who builds in a folder, why jobs failed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from efficiency_bench.records.builds import failures, hold, note, note_device, note_plan

BUILD = """
import sys
from pathlib import Path
from efficiency_bench.records.builds import hold
folder = Path(sys.argv[1])
said = hold(folder)
locks = sorted(path.name for path in folder.glob(".snakemake/locks/*"))
print(said or f"held {locks}", flush=True)
sys.stdin.read()
"""


def build(folder: Path) -> tuple[subprocess.Popen[str], str]:
    """A process that holds the folder until its standard input is closed, and what it says."""
    command = [sys.executable, "-c", BUILD, str(folder)]
    started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    return started, started.stdout.readline().strip()


def test_a_note_keeps_its_time_while_it_says_the_same(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "table2_1.plan"
    note(path, "preset smoke\n")
    os.utime(path, (5, 5))
    note(path, "preset smoke\n")
    assert path.stat().st_mtime == 5
    note(path, "preset paper\n")
    assert path.read_text() == "preset paper\n" and path.stat().st_mtime > 5


def test_a_plan_changes_where_a_record_is_missing_and_not_when_it_is_back(tmp_path: Path) -> None:
    path, record = tmp_path / "table2_1.plan", tmp_path / "run.json"
    record.touch()
    note_plan(path, "preset smoke\n", [record])
    first = path.read_text()
    record.unlink()
    note_plan(path, "preset smoke\n", [record])
    missing = path.read_text()
    record.touch()
    note_plan(path, "preset smoke\n", [record])
    assert first == "preset smoke\n" != missing == path.read_text()
    note_plan(path, "preset paper\n", [record])
    assert path.read_text() == "preset paper\n"


def test_a_record_is_old_by_its_device_where_another_is_wanted(tmp_path: Path) -> None:
    record, path = tmp_path / "run.json", tmp_path / "devices" / "run.txt"
    record.write_text('{"device": {"type": "cuda"}}')

    def old(device: str) -> bool:
        note_device(path, device, record)
        return path.stat().st_mtime > record.stat().st_mtime

    os.utime(record, (1000, 1000))
    assert [old(device) for device in ("cuda", "cuda", "cpu", "cpu", "cuda")] == [False, False, True, True, False]
    record.write_text("no record")
    os.utime(record, (1000, 1000))
    assert old("cpu")
    record.unlink()
    note_device(path, "cuda", record)
    assert path.read_text() == "cuda"


def test_one_build_works_in_a_folder_and_a_killed_one_leaves_no_lock(tmp_path: Path) -> None:
    first, said = build(tmp_path)
    assert said == "held []"
    locks = tmp_path / ".snakemake" / "locks"
    locks.mkdir()
    (locks / "0.output.lock").write_text("results/table2_1.csv\n")
    assert f"{tmp_path}: process {first.pid} on " in hold(tmp_path) and list(locks.iterdir())
    first.kill()
    first.communicate()
    second, said = build(tmp_path)
    assert said == "held []", "Snakemake's lock of a build that was killed is removed"
    second.communicate()
    locks.mkdir()
    (locks / "0.output.lock").touch()
    third, said = build(tmp_path)
    assert said == "held ['0.output.lock']", "the build before came to its end, so the lock is somebody else's"
    third.communicate()


LOG = """Building DAG of jobs...
[Mon Nov 30 00:00:00 2026]
Error in rule train:
    message: None
    jobid: 3
    input: data/digits/train.h5
    output: my results/runs/toy-s0.json
    log: {log}, slurm_logs/3.log (check log file(s) for error details)
    shell:
        effbench run toy
    (command exited with non-zero exit code)
[Mon Nov 30 00:00:00 2026]
Error in rule plot:
    jobid: 0
    log: {other} (check log file(s) for error details)
Finished jobid: 1
    log: {fine}
"""


def test_why_jobs_failed(tmp_path: Path) -> None:
    log, other = tmp_path / "a log.txt", tmp_path / "other.log"
    (tmp_path / "snakemake.log").write_text(LOG.format(log=log, other=other, fine=tmp_path / "fine.log"))
    log.write_text("00:00:00 training\nerror: data/digits/train.h5: not a readable HDF5 file\n\n")
    assert failures(tmp_path / "snakemake.log") == [
        f"{log}: error: data/digits/train.h5: not a readable HDF5 file", f"{other}: says nothing; was the job killed?",
    ]  # fmt: skip


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(Exception, match="cannot be written"):
        hold(tmp_path)
