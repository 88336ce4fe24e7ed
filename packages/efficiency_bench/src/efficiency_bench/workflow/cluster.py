"""What a SLURM cluster offers to the jobs of the workflow."""

import re
import subprocess

from efficiency_core.errors import UsageError

_GPU = re.compile(r"(^|,)gpu(:|$)", re.MULTILINE)


def cluster_device(name: str) -> str:
    """`cpu` or `cuda` for jobs on the cluster's nodes, from `auto`, `cpu` or `cuda`; `auto` is cuda where a node has a GPU.

    Raises:
        UsageError: SLURM does not answer, or `cuda` is asked for and no node has a GPU.
    """
    if name == "cpu":
        return "cpu"
    try:
        asked = subprocess.run(["sinfo", "--noheader", "--format=%G"], capture_output=True, text=True, check=False)
    except OSError as error:
        raise UsageError(
            f"device={name} on a cluster: sinfo cannot be run ({error.strerror}); set device=cpu"
        ) from error
    if asked.returncode:
        said = (asked.stderr.strip() or "no message").splitlines()[-1]
        raise UsageError(f"device={name} on a cluster: sinfo failed ({said}); start SLURM, or set device=cpu")
    found = "cuda" if _GPU.search(asked.stdout) else "cpu"
    if name == "cuda" and found == "cpu":
        raise UsageError(
            "device=cuda, but no node of the cluster has a GPU (sinfo --format=%G); set device=cpu or auto"
        )
    return found
