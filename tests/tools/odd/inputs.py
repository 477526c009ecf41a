"""Which odd inputs a tool takes, by its definition, and the mark of a test that tries them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, Final

import pytest

from toolmeta.model import Tool
from toolmeta.parameters import Parameter, Shape

#: Every odd input, in the order of the page; what each means to a reader.
INPUTS: Final = {
    "names": "file names with blanks, UTF-8 in both forms, words of a shell, dashes, line breaks",
    "unreadable": "what may not be read or is not there",
    "large": "1 GB of output, by the program where it prints files, else read as if it came from "
    "it; less in CI, all of it with `make long`",
    "long line": "a line of 100 MB, in the same ways",
    "locale": "a German login and a German executor; of a program that is not installed this and "
    "the logins are tried up to `program_missing`",
    "unprivileged": "an executor or a login without rights",
    "key": "login with a key",
    "password": "login with a password",
    "wrong user": "a login that nobody has",
    "changed host key": "another host key than the known one",
    "IPv6 host": "a host that is reached at an IPv6 address",
    "IPv6 peer": "an IPv6 address in place of a name or an IPv4 address",
}

_PATHS: Final = frozenset({"path", "absolute-path"})
#: Names of parameters that hold a file where no format says so.
_PATH_NAMES: Final = frozenset({"path", "paths", "file", "files", "source", "destination"})
_ADDRESSES: Final = frozenset({"host", "host-port", "ip", "cidr", "url"})
#: Fields of an output in which something else than the program of this project speaks.
_SAID: Final = frozenset({"text", "body", "answer", "response", "message"})
#: Drivers that start the tool's program on the executor's machine, and no other.
_HERE: Final = frozenset({"scan", "packets", "library", "analysis"})


def applying(tool: Tool) -> frozenset[str]:
    """The inputs that the definition lets somebody give to this tool."""
    found: set[str] = set()
    parameters = tool.parameters
    on_hosts = tool.run.driver == "command" and "host" in parameters
    if any(_is_path(name, shape) for name, shape in parameters.items()):
        found |= {"names", "unreadable"}
    if tool.run.driver == "command" or _says_something(tool):
        found |= {"large", "long line"}
    if tool.run.driver == "command" or tool.run.driver in _HERE:
        found |= {"locale", "unprivileged"}
    if on_hosts:
        found |= {"key", "password", "wrong user", "changed host key"}
    if "password" in parameters:
        found |= {"password", "wrong user"}
    if "host" in parameters:
        found |= {"IPv6 host"}
    if any(_is_address(tool, name, shape) for name, shape in parameters.items()):
        found |= {"IPv6 peer"}
    return frozenset(found)


def _is_path(name: str, shape: Parameter) -> bool:
    text = _text(shape)
    if text is None:
        return False
    return text.format in _PATHS or (text.format is None and name in _PATH_NAMES)


def _is_address(tool: Tool, name: str, shape: Parameter) -> bool:
    text = _text(shape)
    if text is None or name == "host":
        return False
    return text.format in _ADDRESSES or name in tool.run.contacts.hosts or name == "targets"


def _text(shape: Parameter) -> Shape | None:
    """What holds the text: the parameter, or each item of it."""
    if shape.type == "string":
        return shape
    return shape.items if shape.items is not None and shape.items.type == "string" else None


def _says_something(tool: Tool) -> bool:
    fields: dict[str, Any] = tool.output.get("properties", {})
    return any(name in _SAID or "array" in _types(field) for name, field in fields.items())


def _types(field: dict[str, Any]) -> Collection[str]:
    stated = field.get("type", ())
    return (stated,) if isinstance(stated, str) else tuple(stated)


Test = Callable[..., None]


def over_every(tools: Iterable[str], *inputs: str) -> Callable[[Test], Test]:
    """A test that runs once for each of these tools, and what it tries of each."""
    names = sorted(tools)

    def marked(test: Test) -> Test:
        tried = pytest.mark.tried(*names, inputs=inputs)
        return pytest.mark.parametrize("tool", names)(tried(test))

    return marked
