"""What browsers are sent besides pages: vendored as published, named by content, kept for ever."""

from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path

import pytest

from api.problems import Problem
from web import static_files
from web.templating import environment

VENDOR = static_files.FOLDER / "vendor"
PERMISSIVE = {"0BSD", "MIT", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0"}


def test_vendored_files_are_as_published_under_a_permissive_licence() -> None:
    listed = tomllib.loads((VENDOR / "VENDORED.toml").read_text("utf-8"))["file"]
    assert {one["path"] for one in listed} == {
        path.name for path in VENDOR.iterdir() if path.name != "VENDORED.toml"
    }
    for one in listed:
        content = (VENDOR / one["path"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == one["sha256"], one["path"]
        assert one["licence"] in PERMISSIVE
        assert one["version"] in one["source"]
        assert one["version"].encode() in content


def test_a_name_has_the_hash_of_its_content_and_is_kept() -> None:
    address = static_files.address("app.css")
    name = address.removeprefix(static_files.PREFIX)
    answer = static_files.static(name)
    assert hashlib.sha256(bytes(answer.body)).hexdigest()[:12] in name
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    with pytest.raises(Problem):
        static_files.static("app.000000000000.css")
    with pytest.raises(Problem):
        static_files.static("../shell.py")


def test_nothing_comes_from_elsewhere_and_no_style_or_script_stands_in_a_page() -> None:
    folder = Path(static_files.FOLDER).parent / "templates"
    texts = {path.name: path.read_text("utf-8") for path in folder.glob("*.html")}
    assert texts
    for name, text in texts.items():
        assert not re.search(r"""(src|href)=["'](https?:)?//""", text), name
        assert not re.search(r"\sstyle=|<style|\son[a-z]+=|javascript:|hx-on|hx-vals='js", text), (
            name
        )
        for script in re.findall(r"<script[^>]*>(.*?)</script>", text, re.DOTALL):
            assert script == "", name
        # Nothing is trusted to be HTML.
        assert "|safe" not in text.replace(" ", ""), name
        environment().get_template(name)


def test_sheets_load_nothing_from_elsewhere() -> None:
    for path in static_files.FOLDER.glob("*.css"):
        text = path.read_text("utf-8")
        assert "@import" not in text and "http" not in text and "data:" not in text, path.name
