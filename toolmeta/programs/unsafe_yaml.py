"""Values as YAML for Ansible that stay what they are: nothing in a text is a template there."""

from __future__ import annotations

import json
from typing import Any


def dump(value: Any) -> str:
    """The value as YAML in one line; each text has the tag `!unsafe`, in which no `{{` counts."""
    if isinstance(value, str):
        return f"!unsafe {quoted(value)}"
    if isinstance(value, list):
        return f"[{', '.join(map(dump, value))}]"
    if isinstance(value, dict):
        pairs = (f"? {quoted(str(name))} : {dump(item)}" for name, item in value.items())
        return "{" + ", ".join(pairs) + "}"
    # JSON's numbers are YAML's, but for an exponent without a dot.
    return repr(value) if isinstance(value, float) and "." in repr(value) else json.dumps(value)


def quoted(text: str) -> str:
    """The text as a scalar in double quotes, of ASCII only."""
    return '"' + "".join(map(_sign, text)) + '"'


def _sign(sign: str) -> str:
    if sign in '"\\':
        return "\\" + sign
    code = ord(sign)
    if 0x20 <= code < 0x7F:
        return sign
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
