"""Scripts: what a library entry of the operator's says about one, and how a script is named. Pure.

A script is text for an interpreter. Its arguments are bound as arguments and as environment
variables; nothing is ever put into the text.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final, Literal, get_args

from pydantic import BaseModel, Field, model_validator

from toolmeta.parameters import STRICT

Interpreter = Literal["sh", "bash", "python3", "pwsh"]
INTERPRETERS: Final[tuple[str, ...]] = get_args(Interpreter)
#: Of a script of the library; one in a plan is a parameter, with the bound of its definition.
MAX_TEXT: Final = 131_072
#: The driver of tools that run commands and scripts, and its calls.
DRIVER: Final = "script"
COMMAND: Final = "command"
INLINE: Final = "script"
LIBRARY: Final = "library"

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
#: What an interpreter, a loader (ours: `rs_`) or a shell reads before the first line of a script,
#: or to find programs: other code would run than the one that was read and approved.
_REFUSED: Final = re.compile(
    r"(?:LD|DYLD|NODE|DOTNET|CORECLR|COMPLUS|RUNSTREAM|MALLOC|RS)_.*|(?:BASH|PYTHON|PERL|RUBY).*"
    r"|ENV|SHELLOPTS|PATH|CDPATH|GLOBIGNORE|IFS|PS4|PROMPT_COMMAND|TMPDIR|PSMODULEPATH"
    r"|_?JAVA_(?:TOOL_)?OPTIONS|JDK_JAVA_OPTIONS|GCONV_PATH|LOCPATH|NLSPATH|GLIBC_TUNABLES"
    r"|HOSTALIASES|RESOLV_HOST_CONF|LOCALDOMAIN|RES_OPTIONS|COMSPEC|PATHEXT|SYSTEMROOT|WINDIR"
)


class Script(BaseModel):
    """The script of a library entry: its text, or a file beside the definition."""

    model_config = STRICT

    interpreter: Interpreter
    file: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}\.(sh|bash|py|ps1)$",
        description="name of a file beside the definition; its text is a part of the definition",
    )
    text: str | None = Field(default=None, min_length=1, max_length=MAX_TEXT)

    @model_validator(mode="after")
    def _has_text(self) -> Script:
        if self.text is None:
            raise ValueError("give text, or file: a name of the library's folder")
        fault = text_fault(self.text)
        if fault is not None:
            raise ValueError(fault)
        return self


def digest(interpreter: str, text: str) -> str:
    """Names a script: SHA-256 of its interpreter and its text, as 64 hex digits."""
    return sha256(f"{interpreter}\n{text}".encode()).hexdigest()


def text_fault(text: str) -> str | None:
    """Why no interpreter can be given this text; None where it can."""
    if "\x00" in text:
        return "the text of the script holds a NUL character; remove it"
    return None if text.strip() else "the text of the script is empty"


def variable_fault(name: str) -> str | None:
    """Why a plan may not set this environment variable; None where it may."""
    if _NAME.fullmatch(name) is None:
        return f"{name!r:.60} is no name of a variable: letters, digits and _, no digit first"
    if _REFUSED.fullmatch(name.upper()) is not None:
        return (
            f"{name[:60]} decides which code runs before or beside the script, which nobody has "
            "read and approved: set it within the script"
        )
    return None
