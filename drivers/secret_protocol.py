"""What executor and secret broker say to each other: one JSON object a line, over a socket pair.

executor: its `SecretsConfig`, once; then requests, each with a number.
broker: `{}` or `{"fault": …}`, once; then one answer to each request, in any order.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

import orjson
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from drivers.secret_use import Resolved, SecretError, SecretFault, Use
from toolmeta.secret_references import SecretPath, parse

#: The longest line: every character of the largest secret may take six bytes.
MAX_LINE: Final = 1024 * 1024

_USE: Final = TypeAdapter(Use)


class Answer(BaseModel):
    """Of the broker: a secret, or why there is none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    value: str | None = None
    rule: str | None = None
    error_class: SecretFault | None = None
    message: str | None = None

    def __repr__(self) -> str:
        """Never the value."""
        return f"Answer(number={self.number})"

    def resolved(self) -> Resolved:
        """The secret; raises the SecretError that the broker sent."""
        if self.value is None or self.rule is None:
            fault = self.error_class or "secret_unavailable"
            raise SecretError(self.message or "", fault, self.rule)
        return Resolved(self.value, self.rule)


def request(number: int, path: SecretPath, use: Use) -> bytes:
    """A request as a line."""
    return orjson.dumps({"number": number, "path": str(path), "use": asdict(use)}) + b"\n"


def read_request(line: bytes) -> tuple[int, SecretPath, Use]:
    """The parts of a request; raises ValueError."""
    body: Any = orjson.loads(line)
    path = parse(str(body["path"]))
    if path is None:
        raise ValueError("the path of a request has no form that is known")
    return int(body["number"]), path, _USE.validate_python(body["use"])


def answer(number: int, found: Resolved | SecretError) -> bytes:
    """An answer as a line."""
    if isinstance(found, Resolved):
        body: dict[str, Any] = {"number": number, "value": found.value, "rule": found.rule}
    else:
        body = {"number": number, "error_class": found.error_class, "message": str(found)}
        body["rule"] = found.rule
    return orjson.dumps(body) + b"\n"


def read_answer(line: bytes) -> Answer:
    """An answer; raises ValueError, whose text shows nothing of it."""
    try:
        return Answer.model_validate_json(line)
    except ValidationError:
        raise ValueError("the secret broker sent an answer that cannot be read") from None
