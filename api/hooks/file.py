"""The file of the hooks: read, with every fault by its field."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from api.hooks.definitions import Hook, HooksDocument, Limit
from runtime import coreyaml

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

MAX_BYTES: Final = 256 * 1024
MAX_FAULTS: Final = 20
_FIELDS: Final = [*HooksDocument.model_fields, *Hook.model_fields, *Limit.model_fields]
_MAX_FIELD: Final = 200


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with the file, and what to do about it."""

    field: str
    message: str

    def __str__(self) -> str:
        """For a log line."""
        return f"{self.field}: {self.message}" if self.field else self.message


class HooksError(Exception):
    """The file, or a secret that it names, cannot be used; `faults` says why."""

    def __init__(self, faults: list[Fault]) -> None:
        """Keep the faults for whoever shows them one by one."""
        super().__init__("; ".join(str(fault) for fault in faults[:3]))
        self.faults = faults


def read(path: Path) -> tuple[Hook, ...]:
    """The hooks of a file; raises HooksError."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise HooksError([Fault("", f"it cannot be read: {error.strerror or error}")]) from None
    if len(raw) > MAX_BYTES:
        raise HooksError([Fault("", f"it has more than {MAX_BYTES // 1024} KiB")])
    try:
        return parse(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise HooksError([Fault("", f"it is not UTF-8 text (at byte {error.start})")]) from None


def parse(text: str) -> tuple[Hook, ...]:
    """The hooks in a text; raises HooksError."""
    try:
        content = coreyaml.load(text)
    except ValueError as error:
        raise HooksError([Fault("", f"it is not YAML: {error}")]) from None
    if not isinstance(content, dict):
        raise HooksError([Fault("", "it is a mapping with hooks; see docs/webhooks.md")])
    try:
        return HooksDocument.model_validate(content).hooks
    except ValidationError as error:
        # Without the input: somebody may have written a secret where its name belongs.
        found = error.errors(include_url=False, include_input=False)
        raise HooksError([_fault(one) for one in found[:MAX_FAULTS]]) from None


def _fault(error: ErrorDetails) -> Fault:
    field = ".".join(str(part) for part in error["loc"])[:_MAX_FIELD]
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        near = get_close_matches(str(error["loc"][-1]), _FIELDS, n=1)
        message = f"there is no such field; {f'did you mean {near[0]}?' if near else 'take it out'}"
    elif error["type"] == "missing":
        message = "it is required"
    return Fault(field, message)
