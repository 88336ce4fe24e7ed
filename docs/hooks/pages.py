"""MkDocs hook: pages are Jinja templates, filled from the kept records, the packages and the READMEs of the repository."""

from __future__ import annotations

import os
import re
from functools import partial
from importlib import import_module
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import catalogue
import kept
from jinja2 import Environment, StrictUndefined
from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

INCLUDED = {
    "packages/location_anticipation/README.md": "manuals/location_anticipation.md",
    "packages/full_video/README.md": "manuals/full_video.md",
    "packages/outlier_matching/README.md": "manuals/outlier_matching.md",
    "packages/weight_align/README.md": "manuals/weight_align.md",
    "packages/efficiency_bench/README.md": "manuals/efficiency_bench.md",
    "packages/efficiency_core/README.md": "manuals/efficiency_core.md",
    "datasets/README.md": "manuals/synthetic_datasets.md",
    "workflows/config/README.md": "presets.md",
    "CONTRIBUTING.md": "contributing.md",
}
"""Files of the repository that are a page of the site as they are: path -> page."""

PICTURES = {path.relative_to(kept.ROOT).as_posix(): f"manuals/{path.name}" for path in kept.ROOT.glob("datasets/*.png")}
"""Pictures that the included files show: path -> file of the site."""

_LINK = re.compile(r"\[([^]]*)\]\((?!\w+:|#)([^)#]*)(#[^)]*)?\)")


def include(page: str, path: str) -> str:
    """The Markdown file at `path` of the repository, its relative links rewritten for the page `page`.

    A link to a file that is not part of the site becomes the path in the repository.
    """

    def rewritten(link: re.Match[str]) -> str:
        text, target, anchor = link[1], link[2], link[3] or ""
        place = os.path.normpath(PurePosixPath(path).parent / target)
        known = INCLUDED | PICTURES
        inside = known.get(place, known.get(f"{place}/README.md"))
        if place.startswith("docs/"):
            inside = place.removeprefix("docs/")
        if inside is None:
            return text if text.strip("`") == place else f"{text} (`{place}`)"
        return f"[{text}]({os.path.relpath(inside, PurePosixPath(page).parent)}{anchor})"

    return _LINK.sub(rewritten, (kept.ROOT / path).read_text(encoding="utf-8"))


def api(module: str) -> str:
    """mkdocstrings' directive for the names that a package or a room hands on; a room leaves out those of its package.

    A module without such a list shows its public names.
    """
    names: list[str] = getattr(import_module(module), "__all__", [])
    package = module.partition(".")[0]
    if package != module:
        names = [name for name in names if name not in getattr(import_module(package), "__all__", [])]
    members = f"\n    options:\n      members: [{', '.join(names)}]" if names else ""
    return f"## `{module}`\n\n::: {module}{members}\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for path, target in PICTURES.items():
        files.append(File.generated(config, target, abs_src_path=str(kept.ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    environment = Environment(undefined=StrictUndefined, comment_start_string="{##", comment_end_string="##}")
    environment.globals |= {
        "kept": kept.kept,
        "real_data": catalogue.real_data,
        "generated_data": catalogue.generated_data,
        "generators": catalogue.generators,
        "experiments": catalogue.experiments,
        "measured": kept.measured,
        "claims_by_chapter": kept.claims_by_chapter,
        "cost_of_records": kept.cost_of_records,
        "claims_of": kept.claims_of,
        "compared": kept.compared,
        "claims_counted": kept.claims_counted,
        "headlines": kept.headlines,
        "include": partial(include, page.file.src_uri),
        "api": api,
    }
    return environment.from_string(markdown).render()
