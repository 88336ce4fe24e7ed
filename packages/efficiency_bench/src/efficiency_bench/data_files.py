"""The files of a data set's folder, and what a record keeps of them: name, source and a digest of the content."""

import hashlib
from pathlib import Path
from typing import Any

import h5py

from .errors import UsageError

SPLITS = ("train", "test")


def split_files(folder: Path, split: str) -> list[Path]:
    """`SPLIT.h5` of a generated set, or `SPLIT.json` and further `SPLIT_*.json` of a converted one.

    Raises:
        UsageError: there is neither, or both.
    """
    generated, converted = folder / f"{split}.h5", folder / f"{split}.json"
    if generated.is_file() and converted.is_file():
        raise UsageError(
            f"{folder}: holds both {generated.name} and {converted.name}; remove the one that is not meant"
        )
    if converted.is_file():
        return [converted, *sorted(folder.glob(f"{split}_*.json"))]
    if generated.is_file():
        return [generated]
    raise UsageError(f"{folder}: holds neither {generated.name} (generated) nor {converted.name} (converted)")


def data_facts(name: str, folder: Path) -> dict[str, str]:
    """Name, source, digest and folder of a data set.

    The digest is the sha256 of the content digests of both splits' files in turn: of the arrays of a generated file, of
    the whole file of a converted one.

    Raises:
        UsageError: a file is absent or cannot be read.
    """
    files = [file for split in SPLITS for file in split_files(folder, split)]
    facts = [_converted(file) if file.suffix == ".json" else _generated(name, file) for file in files]
    digest = hashlib.sha256("".join(fact["digest"] for fact in facts).encode()).hexdigest()
    return {"name": facts[0]["name"], "source": facts[0]["source"], "digest": digest, "folder": folder.name}


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
