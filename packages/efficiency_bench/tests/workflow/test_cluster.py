"""What the nodes of a cluster offer, as SLURM's `sinfo` says."""

from collections.abc import Callable
from pathlib import Path

import pytest

from efficiency_bench.workflow.cluster import cluster_device
from efficiency_core.errors import UsageError


@pytest.fixture
def sinfo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a shell script in place of the command, and nothing else on the path."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def put(script: str) -> None:
        (tmp_path / "sinfo").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "sinfo").chmod(0o755)

    return put


@pytest.mark.parametrize(
    ("gres", "expected"),
    [
        ("(null)", "cpu"),
        ("gpu:2", "cuda"),
        ("(null)\nlustre:1,gpu:a100:4(S:0-1)", "cuda"),
        ("gpumem:80", "cpu"),
        ("", "cpu"),
    ],
)
def test_auto_is_cuda_where_a_node_has_a_gpu(sinfo: Callable[[str], None], gres: str, expected: str) -> None:
    sinfo(f"echo '{gres}'")
    assert cluster_device("auto") == expected
    assert cluster_device("cpu") == "cpu"
    if expected == "cuda":
        assert cluster_device("cuda") == "cuda"
    else:
        with pytest.raises(
            UsageError, match=r"^device=cuda, but no node of the cluster has a GPU .*; set device=cpu or auto$"
        ):
            cluster_device("cuda")


def test_a_cluster_that_does_not_answer(sinfo: Callable[[str], None]) -> None:
    assert cluster_device("cpu") == "cpu", "nothing is asked"
    with pytest.raises(UsageError, match=r"sinfo cannot be run \(No such file or directory\); set device=cpu$"):
        cluster_device("auto")
    sinfo("echo 'slurm_load_partitions: Unable to contact slurm controller' >&2; exit 1")
    with pytest.raises(
        UsageError, match=r"sinfo failed .slurm_load_partitions: Unable to contact slurm controller.; start SLURM"
    ):
        cluster_device("auto")
