"""Sums over runs of frames against plain sums."""

import pytest
import torch

from full_video.clustering.run_sums import RunSums, add_clusters


@pytest.mark.parametrize("capacity", [0, 2, 4, 10])
def test_run_sums(capacity: int) -> None:
    generator = torch.Generator().manual_seed(capacity)
    for frames in (1, 2, 3, 9, 40, 65):
        maps = torch.randn(frames, 3, dtype=torch.float64, generator=generator)
        cuts = torch.randint(0, 2, (frames,), generator=generator)
        ids = (cuts.cumsum(0) - cuts[0]).tolist()
        if frames > 9:
            ids[-2:] = [-1, -1]
        sums = RunSums(capacity)
        for part in torch.split(maps, 7):
            sums.add(part)
        totals = torch.zeros(max(ids) + 1, 3, dtype=torch.float64)
        for start, stop in sums.spend(ids, totals):
            add_clusters(totals, maps[start:stop], ids[start:stop])
        expected = [maps[[i for i, id_ in enumerate(ids) if id_ == c]].sum(0) for c in range(len(totals))]
        torch.testing.assert_close(totals, torch.stack(expected))
        assert not capacity or frames <= capacity * sums.run
