"""Lint: everything that is wrong with definitions of one's own, with its file, line and remedy."""

from __future__ import annotations

import difflib
import re
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from toolmeta import parse, registry, rules
from toolmeta.bind import bind
from toolmeta.check import check
from toolmeta.definitions import CatalogueError, Definition
from toolmeta.model import Tool
from toolmeta.own_tools import OWN_DOMAINS, read_file

_AT_LINE: Final = re.compile(r"\bline (\d{1,6})")
#: What to do about what pydantic finds, by the type of its error.
_REMEDIES: Final = {
    "missing": "add it",
    "extra_forbidden": "remove it, or spell it as toolmeta/README.md does",
    "string_pattern_mismatch": "write it as the pattern says",
    "literal_error": "write one of these",
}
_README: Final = "toolmeta/README.md says what stands there"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong."""

    file: str
    line: int | None
    field: str | None
    message: str
    remedy: str

    def __str__(self) -> str:
        """In one line, as compilers print it."""
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        named = f"{self.field}: " if self.field else ""
        return f"{place}: {named}{self.message}; {self.remedy}"


@dataclass(frozen=True, slots=True)
class Linted:
    """What was looked at, and what is wrong."""

    files: int
    faults: tuple[Fault, ...]


def lint(places: Iterable[Path]) -> Linted:
    """Every fault of the definitions in these folders, or of these files."""
    faults: list[Fault] = []
    names: dict[str, str] = {
        registry.spelling(name): "the catalogue"
        for tool in registry.load().all()
        for name in (tool.name, *tool.aliases)
    }
    files = 0
    for place in places:
        paths, wrong = _files(place)
        faults += wrong
        for path in paths:
            files += 1
            faults += _file(path, names)
    return Linted(files, tuple(faults))


def _files(place: Path) -> tuple[list[Path], list[Fault]]:
    if place.is_file():
        return [place], []
    if not place.is_dir():
        remedy = "name a folder with DOMAIN/TOOL.yaml, or one such file"
        return [], [Fault(str(place), None, None, "there is no such file or folder", remedy)]
    wrong = []
    for path in sorted((*place.glob("*.y*ml"), *place.glob("*/*.yml"), *place.glob("*/*/*.y*ml"))):
        remedy = f"its place is {place}/DOMAIN/TOOL.yaml, DOMAIN one of {_domains()}"
        wrong.append(Fault(str(path), None, None, "it is not read", remedy))
    return sorted(place.glob("*/*.yaml")), wrong


def _domains() -> str:
    return ", ".join(sorted(OWN_DOMAINS))


def _file(path: Path, names: dict[str, str]) -> Iterator[Fault]:
    try:
        definition = read_file(path)
    except OSError as error:
        yield Fault(str(path), None, None, str(error.strerror), "make it readable")
        return
    except CatalogueError as error:
        yield _unreadable(path, str(error))
        return
    lines = Lines(path.read_text(encoding="utf-8"))
    tool = yield from _model(definition, path, lines)
    if tool is None:
        return
    for message in rules.faults(tool):
        yield Fault(str(path), lines.of_words(message), None, message, _README)
    yield from _names(tool, path, lines, names)
    yield from _example(tool, path, lines)


def _unreadable(path: Path, message: str) -> Fault:
    told = " ".join(message.removeprefix(f"{path}: ").split())
    at = [int(number) for number in _AT_LINE.findall(told)]
    return Fault(str(path), at[-1] if at else None, None, told, "mend the text of the file")


def _model(definition: Definition, path: Path, lines: Lines) -> Generator[Fault, None, Tool | None]:
    try:
        return Tool.model_validate_json(definition.text)
    except ValidationError as error:
        for one in error.errors(include_url=False, include_context=False, include_input=False):
            place = tuple(one["loc"])
            remedy = _REMEDIES.get(one["type"], _README)
            if one["type"] == "extra_forbidden" and (near := _near(str(place[-1]), place)):
                remedy = f"remove it, or did you mean {near}?"
            field = ".".join(map(str, place)) or None
            yield Fault(str(path), lines.of(place), field, one["msg"], remedy)
    return None


def _near(name: str, place: tuple[Any, ...]) -> str | None:
    models = {"run": Tool.model_fields["run"], "risk": Tool.model_fields["risk"]}
    owner = models.get(str(place[0])) if len(place) == 2 else None
    annotation: Any = Tool if owner is None else owner.annotation
    found = difflib.get_close_matches(name, list(annotation.model_fields), 1, 0.6)
    return found[0] if found else None


def _names(tool: Tool, path: Path, lines: Lines, names: dict[str, str]) -> Iterator[Fault]:
    if tool.name != path.stem:
        message = f"it is {tool.name}, and the file {path.name}"
        yield Fault(str(path), lines.of(("name",)), "name", message, "give both the same name")
    if tool.domain != path.parent.name:
        message = f"it is {tool.domain}, and the folder {path.parent.name}"
        yield Fault(str(path), lines.of(("domain",)), "domain", message, "give both the same name")
    for field, name in (("name", tool.name), *(("aliases", alias) for alias in tool.aliases)):
        other = names.setdefault(registry.spelling(name), str(path))
        if other != str(path):
            message = f"{name} is a tool of {other} already"
            yield Fault(str(path), lines.of((field,)), field, message, "choose another name")


def _example(tool: Tool, path: Path, lines: Lines) -> Iterator[Fault]:
    """What the example, the output and the parser promise and do not keep."""

    def fault(field: str, message: str, remedy: str) -> Fault:
        return Fault(str(path), lines.of(tuple(field.split("."))), field, message, remedy)

    parser = tool.run.parser
    if parser is not None and not parse.known(parser):
        remedy = "use one of toolmeta/parse.py, jc:NAME, or plugin:NAME of an installed package"
        yield fault("run.parser", f"there is no parser {parser}", remedy)
    if tool.output.get("type") != "object" or not tool.output.get("required"):
        remedy = "write type: object and required with the fields that are always there"
        yield fault("output", "it promises no field", remedy)
    required, shown = tool.output.get("required"), tool.example.output
    for name in required if isinstance(required, list) else ():
        if name not in shown:
            message = f"the required field {name} is not in it"
            yield fault("example.output", message, "add it, or take it out of required")
    problems = check(tool, tool.example.parameters, references_allowed=True)
    for problem in problems:
        yield fault("example.parameters", f"{problem.field} {problem.message}", "mend the example")
    bound = None if problems else bind(tool, _filled(tool))
    if bound is None or isinstance(bound, list):
        return
    if tool.run.script is not None:
        words: tuple[str, ...] | None = tuple(bound.arguments["arguments"])
    else:
        words = bound.argv if bound.call is None else None
    if words is not None and tool.example.argv != words:
        remedy = f"write argv: {list(words)}"
        yield fault("example.argv", f"the parameters make {list(words)}", remedy)


def _filled(tool: Tool) -> dict[str, Any]:
    """The example's parameters with a text in place of every secret reference."""
    return {
        name: "secret" if isinstance(value, dict) and value.get("type") == "secret" else value
        for name, value in tool.example.parameters.items()
    }


class Lines:
    """The lines of the fields of a YAML document."""

    def __init__(self, text: str) -> None:
        """The document can be read."""
        self._text = text.splitlines()
        self._root = yaml.compose(text, Loader=yaml.SafeLoader)

    def of(self, place: tuple[Any, ...]) -> int | None:
        """The line of a field, or of what is nearest above it."""
        node, line = self._root, None
        for part in place:
            found = _child(node, part)
            if found is None:
                break
            line, node = found
        return line

    def of_words(self, message: str) -> int | None:
        """The first line with a field that a sentence names."""
        for word in re.findall(r"[a-z][a-z0-9_]{2,}", message):
            for number, line in enumerate(self._text, 1):
                if re.match(rf"\s*(?:- )?{word}:", line):
                    return number
        return None


def _child(node: Any, part: Any) -> tuple[int, Any] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return key.start_mark.line + 1, value
    elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part].start_mark.line + 1, node.value[part]
    return None
