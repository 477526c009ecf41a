"""Scripts of the library: a definition with a script beside it, bound, named and kept apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.own_tools import SAY_HELLO, write
from toolmeta import scripts
from toolmeta.bind import bind
from toolmeta.definitions import CatalogueError
from toolmeta.invocation import Invocation
from toolmeta.own_tools import OwnTools, folders_of
from toolmeta.registry import Registry

GREET = """
name: greet
domain: automation
platform: linux
kind: own
description: Greets somebody in one line.
parameters:
  host: {type: string, format: host-port, description: Where.}
  name: {type: string, required: true, max_length: 40, description: To whom.}
  token: {type: string, secret: true, description: What opens it.}
run:
  driver: script
  script: {interpreter: bash, file: greet.sh}
  argv: ["{name}"]
  env: {TOKEN: "{token}"}
  parser: json
output: {type: object, required: [exit_code], properties: {exit_code: {type: integer}}}
risk: {effect: modify, idempotent: true, retry_safe: false}
example: {parameters: {name: Ada}, argv: [Ada], output: {exit_code: 0}}
"""
TEXT = 'printf \'"%s"\' "$1"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "library").mkdir(mode=0o755)
    place = tmp_path / "library"
    write(place, GREET, "greet")
    script(place, TEXT)
    return place


def script(place: Path, text: str | bytes, name: str = "greet.sh") -> Path:
    file = place / "automation" / name
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    file.chmod(0o644)
    return file


def made(*folders: Path) -> Registry:
    return Registry((), own=OwnTools(*folders))


def bound(registry: Registry, parameters: dict[str, Any]) -> Any:
    tool = registry.get("greet")
    assert tool is not None
    return bind(tool, parameters)


def test_the_script_is_a_part_of_the_definition(folder: Path) -> None:
    registry = made(folder)
    found = bound(registry, {"name": "$(id)", "token": "t"})
    assert isinstance(found, Invocation)
    assert (found.call, found.argv, found.env) == (scripts.LIBRARY, (), {"TOKEN": "t"})
    assert found.arguments == {"interpreter": "bash", "script": TEXT, "arguments": ["$(id)"]}
    tool = registry.get("greet")
    assert tool is not None
    script(folder, TEXT + "# another one\n")
    assert registry.refresh()
    changed = registry.get("greet")
    assert changed is not None and changed.digest != tool.digest


def test_a_value_that_begins_with_a_dash_is_refused_as_for_programs(folder: Path) -> None:
    (problem,) = bound(made(folder), {"name": "-c"})
    assert problem.field == "parameters.name"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"file: greet.sh": "file: gone.sh"}, "there is no gone.sh beside the definition"),
        ({"file: greet.sh": "file: ../greet.sh"}, "the name of a file beside the definition"),
        ({"file: greet.sh": "file: /etc/passwd"}, "the name of a file beside the definition"),
        ({"file: greet.sh": "file: greet.sh, text: x"}, "give file or text, not both"),
        ({"interpreter: bash": "interpreter: perl"}, "interpreter"),
        ({", file: greet.sh": ""}, "give text, or file"),
        ({"driver: script": "driver: command"}, "a script needs driver script"),
        ({'argv: ["{name}"]': 'argv: ["{token}"]'}, "secret token must not be part of argv"),
    ],
)
def test_what_is_no_entry_is_refused_by_name(
    folder: Path, change: dict[str, str], told: str
) -> None:
    text = GREET
    for old, new in change.items():
        assert old in text
        text = text.replace(old, new)
    write(folder, text, "greet")
    with pytest.raises(CatalogueError, match=told) as caught:
        made(folder)
    assert str(folder / "automation" / "greet.yaml") in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x" * (scripts.MAX_TEXT + 1), "131072"),
        ("x" * 300_000, "greet.sh has more than 262144 bytes"),
        (b"\xff", "greet.sh is not UTF-8"),
        ("a\0b", "NUL"),
        ("", "at least 1 character"),
    ],
)
def test_a_script_that_cannot_be_is_refused(folder: Path, text: str | bytes, told: str) -> None:
    script(folder, text)
    with pytest.raises(CatalogueError, match=told):
        made(folder)


def test_a_script_that_others_can_write_is_refused(folder: Path) -> None:
    script(folder, TEXT).chmod(0o666)
    with pytest.raises(CatalogueError, match=r"others can write .*greet.sh; .*chmod go-w"):
        made(folder)


def test_a_folder_that_depends_on_where_one_stands_is_refused() -> None:
    with pytest.raises(CatalogueError, match=r"RUNSTREAM_TOOLS_PATH: tools is no absolute folder"):
        folders_of("/srv/tools:tools")


def test_two_folders_stand_beside_each_other_and_shadow_nothing(
    folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir(mode=0o755)
    write(other, SAY_HELLO)
    registry = made(folder, other)
    assert registry.get("greet") and registry.get("say_hello")
    assert folders_of(f"{folder}:{other}::{folder}") == (folder, other)
    write(other, SAY_HELLO.replace("kind:", "aliases: [Greet]\nkind:"))
    with pytest.raises(CatalogueError) as caught:
        registry.refresh()
    told = str(caught.value)
    assert told.startswith("greet names both ")
    assert str(folder / "automation" / "greet.yaml") in told
    assert str(other / "automation" / "say_hello.yaml") in told
    assert registry.get("greet") is not None, "what was read before stays"
