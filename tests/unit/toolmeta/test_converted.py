"""Converted files: never stale, and no trouble where nothing can be kept."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from toolmeta.converted import ConvertedFiles


class Counting:
    """A conversion that counts how often it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, text: str) -> str:
        self.asked.append(text)
        return f'"{text}"'


@pytest.fixture(autouse=True)
def writes_compiled_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)


def _load(path: Path, *contents: bytes) -> list[str]:
    convert = Counting()
    files = ConvertedFiles(path)
    for content in contents:
        assert files.get(content, convert) == f'"{content.decode()}"'
    files.save()
    return convert.asked


def test_only_what_changed_is_converted_again(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "tools.json"
    assert _load(path, b"a", b"b") == ["a", "b"]
    assert _load(path, b"a", b"b") == []
    assert _load(path, b"a", b"changed") == ["changed"]
    # What no file has any more is not kept.
    assert _load(path, b"a", b"b") == ["b"]
    assert [file.name for file in path.parent.iterdir()] == ["tools.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"a": 1}', b"\xff"])
def test_a_broken_file_is_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tools.json"
    path.write_bytes(content)
    assert _load(path, b"a") == ["a"]
    assert _load(path, b"a") == []


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert _load(tmp_path / "cache" / "tools.json", b"a") == ["a"]


def test_nothing_is_written_where_python_writes_no_compiled_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert _load(tmp_path / "tools.json", b"a") == ["a"]
    assert list(tmp_path.iterdir()) == []
