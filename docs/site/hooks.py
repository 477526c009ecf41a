"""What MkDocs needs to know about this repository: mkdocs.yml names this file under `hooks`.

The pages are written to be read in the repository: they link to files beside docs/. Those files
become part of the site below `repository/`, and the links to them are written anew, so that the
site is whole by itself. Pages with a diagram load the drawing program, which lies in this folder.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
#: Where the site has the files of the repository that lie outside of docs/.
OUTSIDE = "repository"
#: The drawing program, and where the site has it: this folder itself is left out of the site.
PROGRAM = Path(__file__).parent / "vendor" / "mermaid.tiny.js"
DIAGRAMS = f"assets/{PROGRAM.name}"
_FENCE = re.compile(r"^\s*```")
_LINK = re.compile(r"(\]\()([^)\s#:]+)((?:#[^)\s]*)?\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what the pages link to outside of docs/, and what those files link to."""
    waiting = [file.src_uri for file in files.documentation_pages()]
    while waiting:
        page = waiting.pop()
        for target in _targets(repository_path(page)):
            uri = site_uri(target)
            if uri in files.src_uris or not (ROOT / target).is_file():
                continue
            files.append(File.generated(config, uri, abs_src_path=str(ROOT / target)))
            if uri.endswith(".md"):
                waiting.append(uri)
    files.append(File.generated(config, DIAGRAMS, abs_src_path=str(PROGRAM)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Write links between docs/ and the rest of the repository as the site has them."""
    here = page.file.src_uri

    def anew(link: re.Match[str]) -> str:
        target = _target(repository_path(here), link[2])
        if not (ROOT / target).exists():
            return link[0]  # MkDocs says that it leads nowhere.
        return f"{link[1]}{posixpath.relpath(site_uri(target), posixpath.dirname(here))}{link[3]}"

    return "\n".join(
        _LINK.sub(anew, line) if is_prose else line for line, is_prose in _lines(markdown)
    )


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Load the drawing program where there is something to draw, before the theme looks for it."""
    if 'class="mermaid"' not in html:
        return html
    address = posixpath.relpath(DIAGRAMS, page.file.url.rstrip("/") or ".")
    return f'{html}\n<script src="{address}"></script>'


def repository_path(uri: str) -> str:
    """Where the source of a file of the site lies in the repository."""
    outside = uri.removeprefix(f"{OUTSIDE}/")
    return outside if outside != uri else f"docs/{uri}"


def site_uri(path: str) -> str:
    """Where the site has a file of the repository."""
    inside = path.removeprefix("docs/")
    return inside if inside != path else f"{OUTSIDE}/{path}"


def _targets(path: str) -> Iterator[str]:
    for line, is_prose in _lines((ROOT / path).read_text("utf-8")):
        if is_prose:
            for link in _LINK.finditer(line):
                yield _target(path, link[2])


def _target(path: str, link: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), link))


def _lines(markdown: str) -> Iterator[tuple[str, bool]]:
    """Each line, and whether it stands outside of the blocks of code."""
    inside = False
    for line in markdown.split("\n"):
        fence = bool(_FENCE.match(line))
        yield line, not inside and not fence
        inside ^= fence
