"""The files of a data set's folder, and what a record keeps of them: name, source and a digest of the content."""

import hashlib
from pathlib import Path
from typing import Any

from efficiency_bench.records.run_record import DataFacts
from efficiency_bench.records.set_index import SUFFIX, load_index
from efficiency_core.errors import UsageError
from efficiency_core.readers import opened

SPLITS = ("train", "test")


def split_files(folder: Path, split: str) -> list[Path]:
    """`SPLIT.h5` of a generated set, `SPLIT.json` and further `SPLIT_*.json` of a converted one, or `SPLIT.index.json` of
    one that is read in its own layout; a `UsageError` if there is none of these, or more than one."""
    generated, converted, indexed = (folder / f"{split}{suffix}" for suffix in (".h5", ".json", SUFFIX))
    there = [file for file in (generated, converted, indexed) if file.is_file()]
    if len(there) > 1:
        raise UsageError(f"{folder}: holds both {there[0].name} and {there[1].name}; remove the one that is not meant")
    if not there:
        raise UsageError(
            f"{folder}: holds neither {generated.name} (generated) nor {converted.name} (converted) nor {indexed.name} "
            "(read in its own layout)"
        )
    return [*there, *sorted(folder.glob(f"{split}_*.json"))] if there == [converted] else there


def data_facts(name: str, folder: Path) -> DataFacts:
    """Name, source, digest and folder of a data set; a `UsageError` where a file is absent or cannot be read.

    The digest is the sha256 of the content digests of both splits' files in turn: of the arrays of a generated file, of
    the whole file of a converted one, of the videos of every fold of an index.
    """
    files = [file for split in SPLITS for file in split_files(folder, split)]
    facts = [_facts(name, file) for file in files]
    digest = hashlib.sha256("".join(fact["digest"] for fact in facts).encode()).hexdigest()
    return {"name": facts[0]["name"], "source": facts[0]["source"], "digest": digest, "folder": folder.name}


def _facts(name: str, file: Path) -> dict[str, str]:
    if file.name.endswith(SUFFIX):
        index = load_index(file)
        return {"name": index.name, "source": index.source, "digest": "".join(fold.digest for fold in index.folds)}
    if file.suffix == ".h5":
        with opened(file, f"remove {file.parent} and build it again (`synthdata build ... --out {file.parent}`)") as h5:
            found = {key: str(h5.attrs[key]) for key in ("name", "source", "content_digest")}
        return {"name": found["name"], "source": found["source"], "digest": found["content_digest"]}
    # Imported here: only runs on real data need it, and it brings torch.
    from location_anticipation.data import read_sections

    content, text = read_sections(file)
    info: Any = content.get("info")
    info = info if isinstance(info, dict) else {}
    digest = hashlib.sha256(text.encode()).hexdigest()
    return {"name": str(info.get("name", file.stem)), "source": str(info.get("source", "CocoVID")), "digest": digest}
