"""The documents say what is there: links, commands, the table of claims, and a site that is whole and works offline."""

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
IGNORED = {".venv", ".git", ".snakemake", "data", "runs", "node_modules", ".pytest_cache", "site"}


def markdown_files() -> Iterator[Path]:
    for folder, folders, names in os.walk(ROOT):
        folders[:] = sorted(set(folders) - IGNORED)
        yield from (Path(folder) / name for name in sorted(names) if name.endswith(".md"))


PAGES = list(markdown_files())
FENCE = re.compile(r"^( *)```.*?^\1```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"!?\[[^]]*\]\((?!\w+:)([^)#\s]*)#?([^)\s]*)\)")
COMMANDS = {
    "effbench": "efficiency_bench", "synthdata": "synthetic_datasets", "full-video": "full_video",
    "location-anticipation": "location_anticipation", "outlier-matching": "outlier_matching",
    "weight-align": "weight_align",
}  # fmt: skip


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = ROOT / "docs" / "hooks"
    monkeypatch.syspath_prepend(str(folder))
    return folder


@cache
def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings; an included file's are those of the page that includes it."""
    text = page.read_text(encoding="utf-8")
    for included in re.findall(r'\{\{ include\("([^"]+)"\) }}', text):
        text += (ROOT / included).read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        place = (page.parent / target) if target else page
        assert place.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors(place), f"{page.name} links to {target}#{anchor}"


def command_lines(page: Path) -> Iterator[list[str]]:
    """The commands in the fenced blocks of a page, as words; a line that ends with a backslash goes on."""
    for block in FENCE.finditer(page.read_text(encoding="utf-8")):
        for line in block[0].replace("\\\n", " ").splitlines():
            words = line.partition("  #")[0].split()
            while words and re.fullmatch(r"\w+=\S+", words[0]):
                words.pop(0)
            if words and "──>" not in line:  # no diagram
                yield words


@cache
def known_options(command: str, *subcommand: str) -> set[str]:
    """Options that `COMMAND SUBCOMMAND --help` names, and their short forms: `--epochs` for `--training.epochs`."""
    code = (
        f"from {COMMANDS[command]}.{'commands.' * (command != 'effbench' and command != 'synthdata')}cli import command"
    )
    shown = subprocess.run(
        [sys.executable, "-c", f"{code}; command()", *subcommand, "--help"],
        env=os.environ | {"COLUMNS": "300"}, capture_output=True, text=True,
    )  # fmt: skip
    assert shown.returncode == 0, f"{command} {subcommand}: {shown.stderr}"
    full = set(re.findall(r"--[a-z][\w.-]*", shown.stdout))
    return full | {f"--{name.rpartition('.')[2]}" for name in full if "." in name}


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page.is_relative_to(ROOT / "docs") or page.parent == ROOT],
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
def test_commands_of_the_documents_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z%-]+)(?: [a-z%-]+)*:", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for command, *words in command_lines(page):
        if command == "make":
            assert words[0] in targets or re.fullmatch(r"(table|text|fig)\d_\d+", words[0]), f"make {words[0]}"
        if command in COMMANDS:
            options = {word.partition("=")[0] for word in words if word.startswith("--") and word != "--"}
            subcommand = words[: 2 if words[0] == "build" else 1]  # synthdata build GENERATOR
            assert options <= known_options(command, *subcommand), f"{page.name}: {command} {words[0]}"


def test_the_readmes_show_the_verdicts_of_the_kept_records(hooks: Path) -> None:
    written = importlib.import_module("readme").written()
    assert len(written) == 2
    for path, text in written.items():
        assert path.read_text(encoding="utf-8") == text, "run `python docs/hooks/readme.py`"


def test_the_origin_of_a_verdict_has_no_empty_part(hooks: Path) -> None:
    """Where a claim rests on no data set, on points of the plane for example, nothing stands for it."""
    kept = importlib.import_module("kept")
    assert [claim["id"] for claim in kept.claims() if re.search(r"[(;] *;", claim["elsewhere"])] == []


def test_the_readme_is_short() -> None:
    assert 60 <= len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 90


def test_pictures_are_small() -> None:
    pictures = [path for path in (ROOT / "docs").rglob("*") if path.suffix in {".png", ".svg", ".webp"}]
    assert len(pictures) >= 5
    assert {path.name: path.stat().st_size for path in pictures if path.stat().st_size >= 200_000} == {}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built strictly: a link, an anchor or a name of the API that is missing is an error."""
    pytest.importorskip("mkdocs")
    out: Path = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return out


@pytest.mark.slow
def test_the_site_asks_the_network_for_nothing(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"?([^\s\">]+)", text)
        loaded += re.findall(r"<link\b(?![^>]*rel=\"?canonical)[^>]*\bhref=\"?([^\s\">]+)", text)
        assert [place for place in loaded if re.match(r"(?:\w+:)?//", place)] == [], page.name
        assert "{{" not in re.sub(r"<(code|script)\b.*?</\1>", "", text, flags=re.DOTALL), (
            f"{page.name} shows a template"
        )
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import )[\"']?(?:https?:)?//", sheet.read_text(encoding="utf-8")), sheet.name


@pytest.mark.slow
def test_the_site_documents_every_public_name(site: Path, house: Any) -> None:
    for package in house.packages:
        page = (site / "api" / f"{package}.html").read_text(encoding="utf-8")
        for name in getattr(importlib.import_module(package), "__all__", []):
            assert f'id="{package}.{name}"' in page or f"id={package}.{name}" in page, f"{package}.{name}"


def test_a_page_cannot_show_what_no_record_holds(hooks: Path) -> None:
    kept = importlib.import_module("kept")
    table = kept.kept("amd-epyc-2-cores/table2_1")
    assert table("No motion").keyframe_map_reported == "73.51"
    with pytest.raises(KeyError, match="0 rows begin with"):
        table("Motion")
    with pytest.raises(KeyError, match="has no column 'map'"):
        _ = table("No motion").map
    with pytest.raises(KeyError, match="kinds of kept image_matching runs"):  # several shares of outliers
        kept.measured("intel-xeon-2-cores", "image_matching", "outlier_f1", {"front": "none"})
    plain = {"network": {"backbone": "resnet50", "norm": "none", "align": False}}
    where = "amd-epyc-2-cores", "image_classification", "learning_rate", plain
    rates = kept.measured(*where, folder="tiny_imagenet32-jpeg", each=True)
    assert rates.split(", ")[:3] == ["0.05", "0.2", "0.05"]  # of seeds 0, 1 and 2
    name = "slope 16 - uniform 16"
    found = next(claim for claim in kept.claims() if claim["id"] == "ch3_slope_above_uniform")
    (numbers,) = re.findall(rf"{name} (.+)$", found["measured"])
    verdict = found["verdict"]
    assert kept.compared(found["id"], name, verdict, digits=3).startswith(f"{float(numbers.split()[0]):.3f} [")
    with pytest.raises(KeyError, match=f"the page says 'another', the records '{verdict}'"):
        kept.compared(found["id"], name, "another")
    with pytest.raises(KeyError, match="no comparison 'slope - uniform'"):
        kept.compared(found["id"], "slope - uniform", verdict)


@pytest.mark.slow
def test_the_site_shows_the_kept_numbers(site: Path, hooks: Path) -> None:
    kept = importlib.import_module("kept")
    text = (site / "results" / "chapter2.html").read_text(encoding="utf-8")
    rows = kept.kept("amd-epyc-2-cores/table2_1").rows
    assert len(rows) == 4
    for row in rows:
        assert row.keyframe_map in text.replace("&nbsp;", "\N{NO-BREAK SPACE}")
