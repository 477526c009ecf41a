"""Tools of the operator's own: found beside the catalogue, read again, refused where unsafe."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.own_tools import SAY_GOODBYE, SAY_HELLO, write
from toolmeta.definitions import CatalogueError, read_all
from toolmeta.own_tools import MAX_BYTES, OwnTools
from toolmeta.registry import Registry, read

_DF = next(each for each in read_all() if each.name == "df")
_CATALOGUE = (read(_DF.text, "automation", "df"),)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    (tmp_path / "automation").mkdir(mode=0o755)
    return tmp_path


def made(folder: Path) -> Registry:
    return Registry(_CATALOGUE, own=OwnTools(folder))


def test_own_tools_stand_beside_the_catalogue(folder: Path) -> None:
    write(folder)
    registry = made(folder)
    own, listed = registry.get("say-hello"), registry.get("df")
    assert own is not None and listed is not None
    assert registry.own_digest(own) == own.digest and registry.own_digest(listed) is None


def test_a_file_that_changes_comes_or_goes_is_read_again(folder: Path) -> None:
    registry = made(folder)
    assert registry.get("say_hello") is None and not registry.refresh()
    write(folder)
    assert registry.refresh() and not registry.refresh()
    first = registry.get("say_hello")
    write(folder, SAY_GOODBYE)
    assert registry.refresh() and registry.version == 2
    second = registry.get("say_hello")
    assert first is not None and second is not None and first.digest != second.digest
    (folder / "automation" / "say_hello.yaml").unlink()
    assert registry.refresh() and registry.get("say_hello") is None


@pytest.mark.parametrize(
    ("text", "name", "domain", "told"),
    [
        ("a: [", "say_hello", "automation", "automation/say_hello.yaml"),
        (SAY_HELLO, "other", "automation", "states the name automation/say_hello"),
        (SAY_HELLO.replace("say_hello", "df"), "df", "automation", "df names both"),
        (SAY_HELLO, "say_hello", "kitchen", "the folder kitchen is no domain"),
        (SAY_HELLO.replace("automation", "test"), "say_hello", "test", "folder test is no domain"),
        ("# " + "x" * MAX_BYTES, "say_hello", "automation", "more than 262144 bytes"),
        (SAY_HELLO.replace("  why_read: It writes to its own output only.\n", ""), "say_hello",
         "automation", "why_read"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_named_and_what_was_read_before_stays(
    folder: Path, text: str, name: str, domain: str, told: str
) -> None:
    write(folder)
    registry = made(folder)
    write(folder, text, name, domain)
    with pytest.raises(CatalogueError, match=told):
        registry.refresh()
    assert registry.get("say_hello") is not None and registry.version == 0
    assert not registry.refresh(), "it is said once"
    with pytest.raises(CatalogueError, match=told):
        made(folder)


@pytest.mark.parametrize("place", [".", "automation", "automation/say_hello.yaml"])
def test_what_others_can_write_is_refused(folder: Path, place: str) -> None:
    write(folder)
    (folder / place).chmod(0o775)
    with pytest.raises(CatalogueError, match=r"others can write .*: chmod go-w"):
        made(folder)


def test_a_folder_that_is_not_there_has_no_tools(tmp_path: Path) -> None:
    registry = made(tmp_path / "later")
    assert registry.get("df") is not None
    os.mkdir(tmp_path / "later", 0o755)  # noqa: PTH102 - with its mode
    registry.refresh()
    assert registry.get("say_hello") is None


def test_every_missing_field_is_named_in_one_line(folder: Path) -> None:
    file = folder / "automation" / "say_hello.yaml"
    file.write_text("name: say_hello\nrun: {argv: [echo, hello]}\n")
    with pytest.raises(CatalogueError) as caught:
        made(folder)
    told = str(caught.value)
    assert told.startswith(f"{file}: domain: Field required; ")
    assert "run.driver: Field required" in told and "risk: Field required" in told
    assert "\n" not in told and "pydantic" not in told
