"""Reading a policy file: YAML whose keys occur once, every fault with its line and its remedy."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent

from authority.policy import Policy, tool_test
from authority.policy_document import Document
from toolmeta.registry import Registry

MAX_BYTES: Final = 256 * 1024
#: A policy has six; the reader's time grows with the square of the depth.
MAX_DEPTH: Final = 16
MAX_FAULTS: Final = 50
_DEFAULT: Final = "default_policy.yaml"


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a policy file, and what to do; `line` from 1, None where none is known."""

    field: str
    message: str
    line: int | None = None

    def __str__(self) -> str:
        """For a log line: place, field and message."""
        place = "" if self.line is None else f"line {self.line}: "
        return f"{place}{self.field}: {self.message}" if self.field else f"{place}{self.message}"


class PolicyError(Exception):
    """A policy file cannot be used; `faults` says why, at most MAX_FAULTS."""

    def __init__(self, faults: list[Fault]) -> None:
        """Keep the faults for whoever shows them one by one."""
        super().__init__("; ".join(str(fault) for fault in faults[:3]))
        self.faults = faults


def read(path: Path, tools: Registry) -> Policy:
    """The policy in a file; raises PolicyError."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise PolicyError([Fault("", f"it cannot be read: {error.strerror or error}")]) from None
    if len(raw) > MAX_BYTES:
        raise PolicyError([Fault("", f"it has more than {MAX_BYTES // 1024} KiB")])
    try:
        return parse(raw.decode("utf-8-sig"), tools)
    except UnicodeDecodeError as error:
        message = f"it is not UTF-8 text (at byte {error.start})"
        raise PolicyError([Fault("", message)]) from None


def built_in(tools: Registry) -> Policy:
    """The policy that counts where no file is named: authority/default_policy.yaml."""
    return parse(built_in_text(), tools)


def built_in_text() -> str:
    """The file of the built-in policy, with its comments."""
    return resources.files("authority").joinpath(_DEFAULT).read_text(encoding="utf-8")


def parse(text: str, tools: Registry) -> Policy:
    """The policy in a text; raises PolicyError."""
    content = _yaml(text)
    try:
        document = Document.model_validate(content)
    except ValidationError as error:
        faults = [_fault(dict(found), content) for found in error.errors(include_url=False)]
        raise PolicyError(faults[:MAX_FAULTS]) from None
    unknown = list(_unknown_tools(document, tools, content))
    if unknown:
        raise PolicyError(unknown[:MAX_FAULTS])
    return Policy(document)


def _yaml(text: str) -> Any:
    # The round-trip reader keeps lines, refuses a key that occurs twice, and reads YAML 1.2.
    reader = YAML(typ="rt", pure=True)
    try:
        depth = 0
        for event in reader.parse(text):
            line = event.start_mark.line + 1
            depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise PolicyError([Fault("", f"nested deeper than {MAX_DEPTH} levels", line)])
            if isinstance(event, AliasEvent):
                message = "an alias stands for what is written elsewhere: write it out"
                raise PolicyError([Fault("", message, line)])
        return YAML(typ="rt", pure=True).load(text)
    except DuplicateKeyError as error:
        mark = error.problem_mark
        message = "the key occurs twice in one mapping: take one out"
        raise PolicyError([Fault("", message, mark.line + 1 if mark else None)]) from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = " ".join(str(error.problem or error.context or "it is not YAML").split())
        raise PolicyError([Fault("", words, mark.line + 1 if mark else None)]) from None
    except YAMLError as error:
        raise PolicyError([Fault("", f"it is not YAML: {error}")]) from None


def _fault(found: dict[str, Any], content: Any) -> Fault:
    location = list(found["loc"])
    named = (found.get("ctx") or {}).get("field")
    path = _field(location)
    if named is not None:
        path = f"{path}.{named}" if path else named
    message = str(found["msg"])
    match found["type"]:
        case "model_type" | "dict_type" if not location:
            message = "a policy is a mapping with version: 1 and rules"
        case "missing":
            message = "it is required"
        case "extra_forbidden":
            message = "there is no such field; see docs/policy.md for the fields"
    return Fault(path[:200], message[:1].lower() + message[1:], line_of(content, path))


def _field(location: list[int | str]) -> str:
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif not part.startswith(("literal[", "function-", "tuple[")):  # no field of the file
            path += f".{part}" if path else part
    return path


def line_of(content: Any, path: str) -> int | None:
    """The line on which a field such as `rules[2].tools` stands, or what it would stand in."""
    line: int | None = None
    value = content
    for part in path.replace("[", ".[").split("."):
        place = getattr(value, "lc", None)
        if place is None:
            break
        try:
            if part.startswith("["):
                index = int(part[1:-1])
                line, value = place.item(index)[0] + 1, value[index]
            else:
                line, value = place.key(part)[0] + 1, value[part]
        except (KeyError, IndexError, TypeError):
            break
    return line


def _unknown_tools(document: Document, tools: Registry, content: Any) -> Iterator[Fault]:
    """A misspelled tool in a rule that denies would deny nothing, unseen."""
    names = [f"{tool.domain}/{tool.name}" for tool in tools.all()]
    for number, rule in enumerate(document.rules):
        for index, pattern in enumerate(rule.tools or ()):
            if any(map(tool_test([pattern]), names)):
                continue
            near = tools.suggest(pattern.rpartition("/")[2])
            hint = f"; did you mean {near}?" if near else "; see `runstream tools list`"
            field = f"rules[{number}].tools[{index}]"
            yield Fault(field, f"no tool is named {pattern}{hint}", line_of(content, field))


class PolicyFile:
    """The policy of a file, read again when the file has changed; or the built-in one.

    A file that cannot be used leaves the policy as it is: `report` is told why, once per change.
    """

    def __init__(
        self, path: Path | None, tools: Registry, report: Callable[[PolicyError], None]
    ) -> None:
        """Read the file; raises PolicyError where it cannot be used."""
        self._path = path
        self._tools = tools
        self._report = report
        self._seen = self._stamp()
        #: What counts now; replaced as a whole, so that another thread may read it.
        self.current = built_in(tools) if path is None else read(path, tools)

    def refresh(self) -> bool:
        """Read the file again if it has changed; whether there is another policy now."""
        stamp = self._stamp()
        if self._path is None or stamp == self._seen:
            return False
        self._seen = stamp
        try:
            self.current = read(self._path, self._tools)
        except PolicyError as error:
            self._report(error)
            return False
        return True

    def _stamp(self) -> tuple[int, int, int] | None:
        """What changes with the file: replaced, written, or of another size."""
        if self._path is None:
            return None
        try:
            found = os.stat(self._path)  # noqa: PTH116 - one call
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size
