"""Parsers of other packages: found by their entry point, never in the place of one of ours."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from toolmeta import parse, parser_plugins
from toolmeta.parse import ParseError


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def install(folder: Path, package: str, code: str, *names: str) -> None:
    (folder / f"{package}.py").write_text(code)
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    entries = "".join(f"{name} = {package}:parse\n" for name in names)
    (info / "entry_points.txt").write_text(f"[{parser_plugins.GROUP}]\n{entries}")


def test_a_parser_of_another_package_makes_the_output(packages: Path) -> None:
    code = "def parse(text):\n    return {'words': text.split()}\n"
    install(packages, "acme_parsers", code, "acme_words", "text")
    assert parse.known("plugin:acme_words")
    assert parse.parse("plugin:acme_words", "a b", 0) == {"exit_code": 0, "words": ["a", "b"]}
    # By its own name it stands for nothing.
    assert not parse.known("acme_words")
    assert parse.parse("text", "a b", 0) == {"exit_code": 0, "text": "a b"}


def test_a_name_in_two_packages_names_both(packages: Path) -> None:
    code = "def parse(text):\n    return {}\n"
    install(packages, "acme_one", code, "acme_same")
    install(packages, "acme_two", code, "acme_same")
    assert not parse.known("plugin:acme_same")
    with pytest.raises(ParseError, match=r"acme_one and acme_two|acme_two and acme_one"):
        parse.parse("plugin:acme_same", "", 0)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("raise RuntimeError('broken here')", "cannot be loaded .*broken here"),
        ("def parse(text):\n    return [1]\n", "answers no object with named fields"),
        ("def parse(text):\n    raise ValueError('odd')\n", "ValueError: odd"),
    ],
)
def test_a_parser_that_fails_is_named(packages: Path, code: str, told: str) -> None:
    name = f"acme_bad_{abs(hash(code))}"
    install(packages, name, code, name)
    with pytest.raises(ParseError, match=told):
        parse.parse(f"plugin:{name}", "", 0)
    sys.modules.pop(name, None)
    with pytest.raises(ParseError, match="no installed package brings a parser nothing"):
        parse.parse("plugin:nothing", "", 0)
