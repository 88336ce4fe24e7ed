"""Writes the verdicts over the kept records into README.md and results/README.md: `python docs/hooks/readme.py`, after kept
records or claims have changed."""

import re
from pathlib import Path

import kept

_SECTION = re.compile(r"(<!-- claims: [^>]*-->\n).*?(<!-- end of claims -->)", re.DOTALL)


def written() -> dict[Path, str]:
    """The files that show verdicts, each with the text that it should have."""
    short = f"{kept.headlines()}\n\n{kept.claims_counted()}."
    chapters = [f"### Chapter {chapter}\n\n{kept.claims_of(chapter)}" for chapter in range(2, 6)]
    every = "\n\n".join((f"{kept.claims_counted()}.", kept.claims_by_chapter(), *chapters))
    return {
        path: with_claims(path, text)
        for path, text in ((kept.ROOT / "README.md", short), (kept.ROOT / "results" / "README.md", every))
    }


def with_claims(path: Path, claims: str) -> str:
    """The text of a file with `claims` between its markers."""
    text, count = _SECTION.subn(lambda found: f"{found[1]}{claims}\n{found[2]}", path.read_text(encoding="utf-8"))
    if count != 1:
        raise ValueError(f"{path} has {count} sections between markers of the claims, expected 1")
    return text


if __name__ == "__main__":
    for file, content in written().items():
        file.write_text(content, encoding="utf-8")
