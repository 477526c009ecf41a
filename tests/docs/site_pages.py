"""The built site as a reader's browser gets it: what a page shows, links to and loads."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

from markdown_it import MarkdownIt

#: The blocks and words that a page is made of, as elements of HTML.
SHOWN: Final = frozenset(
    ("h1", "h2", "h3", "h4", "li", "tr", "pre", "code", "strong", "em", "img", "blockquote")
)
_GITHUB: Final = MarkdownIt("commonmark").enable("table")


class SitePage(HTMLParser):
    """One page: its elements within the article, and every address that it names."""

    def __init__(self, file: Path) -> None:
        super().__init__(convert_charrefs=True)
        #: What the article has, by the name of the element.
        self.shown: Counter[str] = Counter()
        #: Anchors that links may name.
        self.anchors: set[str] = set()
        #: Where a reader may go.
        self.links: list[str] = []
        #: What the browser fetches by itself.
        self.loads: list[str] = []
        self._article = False
        self._style = False
        self.feed(file.read_text("utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if "id" in given:
            self.anchors.add(given["id"])
        if tag == "article":
            self._article = True
        elif self._article and tag in SHOWN:
            self.shown[tag] += 1
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag == "link" and given.get("rel") not in ("prev", "next", "canonical"):
            self.loads.append(given["href"])
        for name in ("src", "poster", "data", "action"):
            if name in given:
                self.loads.append(given[name])
        for part in given.get("srcset", "").split(","):
            if part.strip():
                self.loads.append(part.split()[0])
        self.loads += style_loads(given.get("style", ""))
        self._style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        if tag == "article":
            self._article = False
        self._style = False

    def handle_data(self, data: str) -> None:
        if self._style:
            self.loads += style_loads(data)


def style_loads(text: str) -> list[str]:
    """The addresses that a style sheet makes a browser fetch."""
    found = re.findall(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)", text)
    return [one or other for one, other in found]


def as_written(markdown: str) -> Counter[str]:
    """The elements that a page has in the repository, by CommonMark with tables."""
    shown: Counter[str] = Counter()
    for token in _GITHUB.parse(markdown):
        if token.type == "inline":
            for part in token.children or ():
                shown["code" if part.type == "code_inline" else part.tag] += part.nesting >= 0
        elif token.type in ("fence", "code_block"):
            shown.update(("pre", "code"))
        elif token.nesting == 1:
            shown[token.tag] += 1
    return Counter({name: number for name, number in shown.items() if name in SHOWN and number})
