"""Views as JPEG files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthetic_datasets import ImageSetFile, Sample, UsageError
from synthetic_datasets.generators.pitts_cyclegan import PittsCycleGANConfig, generate, layout, load_source
from synthetic_datasets.material.pittsburgh import View, find_views
from synthetic_datasets.storage.hdf5 import write
from synthetic_datasets.storage.image_set import image_fields
from synthetic_datasets.storage.jpegs import write_views

CONFIG = PittsCycleGANConfig(train=20, test=40, places=6, places_test=3, size=(16, 20), outlier_share=0.3)
FACTS = {"format": "image-set", "format_version": 1}


def test_exported_views_are_read_as_pittsburgh(tmp_path: Path) -> None:
    source = load_source(None, CONFIG)
    samples = [generate(CONFIG, "test", index, source) for index in range(40)]
    write(tmp_path / "test.h5", samples, 40, layout(CONFIG), FACTS)
    file, out = ImageSetFile(tmp_path / "test.h5"), tmp_path / "out"
    assert write_views(file, out) == {"source": 23, "target": 17}
    names = sorted(path.name for path in (out / "target").rglob("*.jpg"))
    assert names[0] == "AtoB_000006_pitch1_yaw1.jpg" and any("pitch2" in name for name in names)
    sources = sorted((out / "source").rglob("*.jpg"))
    assert len(sources) == 23
    visits = sorted((out / "source").iterdir())
    found = find_views(visits[0] if visits[0].name.startswith("visit") else out / "source")
    reread = np.asarray(Image.open(found[View(6, 1, 1)])).astype(int)
    assert np.abs(reread - file[0]["image"]).mean() < 6
    with pytest.raises(UsageError, match="holds no image but translated ones"):
        find_views(out / "target")

    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.jpg")}
    sources[0].unlink()
    write_views(file, out)
    for path, time in before.items():
        assert path.exists() and (path == sources[0] or path.stat().st_mtime_ns == time)
    Image.new("RGB", (4, 4)).save(sources[1])
    with pytest.raises(UsageError, match="another picture has this name already"):
        write_views(file, out)


def test_only_view_files_can_be_exported(tmp_path: Path) -> None:
    fields = image_fields(4, 4, "class")
    sample = Sample({name: np.zeros(field.shape, field.dtype) for name, field in fields.items()})
    write(tmp_path / "x.h5", [sample], 1, fields, FACTS)
    with pytest.raises(UsageError, match="has no array place, pitch, yaw, visit"):
        write_views(ImageSetFile(tmp_path / "x.h5"), tmp_path / "jpegs")
    assert not (tmp_path / "jpegs").exists()
