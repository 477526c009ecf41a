"""The site of the pages: whole, with every page in its navigation, and nothing from elsewhere."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.browser.chromium import NARROW, Theme, looking, opened, overflow
from tests.docs.blocks import ROOT
from tests.docs.site_pages import SitePage, as_written, style_loads

DOCS = ROOT / "docs"
VENDOR = DOCS / "site" / "vendor"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, as `make site` builds it."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert built.returncode == 0, built.stderr
    return folder


@cache
def page(file: Path) -> SitePage:
    return SitePage(file)


def pages(site: Path) -> list[Path]:
    return sorted(site.rglob("*.html"))


def navigation() -> list[str]:
    """The files that the navigation names, in its order."""

    def below(entry: Any) -> list[str]:
        if isinstance(entry, dict):
            return [name for value in entry.values() for name in below(value)]
        return (
            [name for one in entry for name in below(one)] if isinstance(entry, list) else [entry]
        )

    return below(yaml.load((ROOT / "mkdocs.yml").read_text("utf-8"), _Names)["nav"])


class _Names(yaml.SafeLoader):
    """YAML whose names of Python objects are left alone."""


_Names.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: suffix)


def test_every_page_is_in_the_navigation() -> None:
    written = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    listed = navigation()
    assert written - set(listed) == set(), "name them in `nav` of mkdocs.yml"
    assert len(listed) == len(set(listed))


def test_the_navigation_has_the_four_kinds() -> None:
    nav = yaml.load((ROOT / "mkdocs.yml").read_text("utf-8"), _Names)["nav"]
    kinds = [name for entry in nav if isinstance(entry, dict) for name in entry]
    assert kinds == ["Tutorial", "How-to", "Reference", "Explanation"]
    landing = (DOCS / "index.md").read_text("utf-8")
    assert re.findall(r"^## (.+)", landing, re.M) == kinds


def test_the_site_shows_what_the_pages_have_in_the_repository(site: Path) -> None:
    """Markdown has dialects: a list or table that only one of them knows would be a paragraph."""
    faults = []
    for uri in navigation():
        outside = uri.removeprefix("repository/")
        source = ROOT / outside if outside != uri else DOCS / uri
        html = uri.removesuffix(".md").removesuffix("README").removesuffix("index").rstrip("/")
        shown = page(site / html / "index.html").shown
        wanted = as_written(source.read_text("utf-8"))
        if shown != wanted:
            faults.append(f"{source.relative_to(ROOT)}: {wanted - shown} is missing, "
                          f"{shown - wanted} is too much")  # fmt: skip
    assert faults == []


def test_every_link_of_the_site_leads_somewhere(site: Path) -> None:
    faults = []
    for file in pages(site):
        if file.name == "404.html":
            continue  # It is shown at any address, so its links begin at the root.
        for link in page(file).links:
            if re.match(r"https?:", link):
                continue
            path, _, anchor = link.partition("#")
            target = (file.parent / path).resolve() if path else file
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file():
                faults.append(f"{file.relative_to(site)}: {link} is no file")
            elif anchor and target.suffix == ".html" and anchor not in page(target).anchors:
                faults.append(f"{file.relative_to(site)}: {link} is no anchor")
    assert faults == []


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    """What scripts fetch is seen in the browser, below."""
    loads = {file: page(file).loads for file in pages(site)}
    assert all(len(found) > 3 for found in loads.values())
    loads |= {file: style_loads(file.read_text("utf-8")) for file in site.rglob("*.css")}
    faults = [
        f"{file.relative_to(site)}: {address}"
        for file, addresses in loads.items()
        for address in addresses
        if re.match(r"(?!data:)[a-z]+:|//", address, re.I)
    ]
    assert faults == []
    for file, addresses in loads.items():
        if file.suffix == ".html" and file.name != "404.html":
            found = [(file.parent / address).is_file() for address in addresses]
            assert all(found), f"{file.relative_to(site)}: {addresses}"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nothing is written to the terminal of the tests."""


@contextmanager
def served(site: Path) -> Iterator[str]:
    handler = partial(_Quiet, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join(10)


def test_a_browser_draws_searches_and_asks_nobody_else(site: Path) -> None:
    themes: dict[Theme, str] = {"light": "default", "dark": "slate"}
    hosts: set[str] = set()
    with served(site) as host, opened() as browser:
        for theme, scheme in themes.items():
            with looking(browser, theme) as (shown, said):
                shown.on("request", lambda asked: hosts.add(urlsplit(asked.url).netloc))
                shown.goto(f"http://{host}/reference/topology/")
                body = shown.locator("body")
                assert body.get_attribute("data-md-color-scheme") == scheme
                # The drawing takes the place of its text.
                drawn = shown.locator("div.mermaid")
                drawn.wait_for()
                box = drawn.bounding_box()
                assert box is not None
                assert box["height"] > 200
                assert shown.locator("pre.mermaid").count() == 0
                shown.locator("input[name=query]").fill("redrive")
                shown.locator(".md-search-result__item").first.wait_for()
                assert said.lines == []
        with looking(browser, width=NARROW) as (shown, said):
            shown.on("request", lambda asked: hosts.add(urlsplit(asked.url).netloc))
            for name in ("", "tutorial/", "plans/", "reference/settings/"):
                shown.goto(f"http://{host}/{name}")
                assert overflow(shown) == 0, name
            assert said.lines == []
    assert hosts == {host}


def test_what_is_vendored_is_as_published_under_a_permissive_licence() -> None:
    (listed,) = tomllib.loads((VENDOR / "VENDORED.toml").read_text("utf-8"))["file"]
    assert {path.name for path in VENDOR.iterdir()} == {"VENDORED.toml", listed["path"]}
    content = (VENDOR / listed["path"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == listed["sha256"]
    assert listed["licence"] == "MIT"
    assert listed["version"] in listed["source"]
    assert listed["version"].encode() in content
