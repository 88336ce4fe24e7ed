"""The files of a data set's folder, and what a record keeps of them: name, source and a digest of the content."""

import hashlib
from pathlib import Path
from typing import Any

import h5py

from .errors import UsageError
from .index import SUFFIX, load_index

SPLITS = ("train", "test")


def split_files(folder: Path, split: str) -> list[Path]:
    """`SPLIT.h5` of a generated set, `SPLIT.json` and further `SPLIT_*.json` of a converted one, or `SPLIT.index.json` of
    one that is read in its own layout.

    Raises:
        UsageError: there is none of these, or more than one.
    """
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


def data_facts(name: str, folder: Path) -> dict[str, str]:
    """Name, source, digest and folder of a data set.

    The digest is the sha256 of the content digests of both splits' files in turn: of the arrays of a generated file, of
    the whole file of a converted one, of the videos of every fold of an index.

    Raises:
        UsageError: a file is absent or cannot be read.
    """
    files = [file for split in SPLITS for file in split_files(folder, split)]
    facts = [_facts(name, file) for file in files]
    digest = hashlib.sha256("".join(fact["digest"] for fact in facts).encode()).hexdigest()
    return {"name": facts[0]["name"], "source": facts[0]["source"], "digest": digest, "folder": folder.name}


def _facts(name: str, file: Path) -> dict[str, str]:
    if file.suffix == ".h5":
        return _generated(name, file)
    return _indexed(file) if file.name.endswith(SUFFIX) else _converted(file)


def _generated(name: str, path: Path) -> dict[str, str]:
    try:
        with h5py.File(path, "r") as file:
            found = {key: str(file.attrs[key]) for key in ("name", "source", "content_digest")}
    except (OSError, KeyError) as error:
        mend = f"build it again with `synthdata build ... --out {path.parent}`"
        raise UsageError(f"{path}: not a readable file of {name} ({error}); {mend}") from error
    return {"name": found["name"], "source": found["source"], "digest": found["content_digest"]}


def _converted(path: Path) -> dict[str, str]:
    # Imported here: only runs on real data need it, and it brings torch.
    from location_anticipation.cocovid import read_sections

    content, text = read_sections(path)
    info: Any = content.get("info")
    info = info if isinstance(info, dict) else {}
    digest = hashlib.sha256(text.encode()).hexdigest()
    return {"name": str(info.get("name", path.stem)), "source": str(info.get("source", "CocoVID")), "digest": digest}


def _indexed(path: Path) -> dict[str, str]:
    index = load_index(path)
    return {"name": index.name, "source": index.source, "digest": "".join(fold.digest for fold in index.folds)}
