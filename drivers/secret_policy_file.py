"""The rules for secrets as a YAML file, read again when it changes."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from drivers.secret_policy import DEFAULT_RULES, NO_RULE, PATTERNS, Effect, Rule
from drivers.secret_use import SecretError

_LARGEST_BYTES: Final = 1024 * 1024
_MOST_RULES: Final = 2_000
_ID: Final = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}"
_DESTINATION: Final = re.compile(r"[a-z0-9*._:-]{1,253}")


class _Written(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    id: str = Field(pattern=f"^{_ID}$")
    effect: Effect
    tenants: list[str] = Field(default=["*"], min_length=1, max_length=200)
    actors: list[str] = Field(default=["*"], min_length=1, max_length=200)
    environments: list[str] = Field(default=["*"], min_length=1, max_length=20)
    tools: list[str] = Field(default=["*"], min_length=1, max_length=400)
    parameters: list[str] = Field(default=["*"], min_length=1, max_length=200)
    secrets: list[str] = Field(default=["*"], min_length=1, max_length=400)
    destinations: list[str] = Field(default=["*"], min_length=1, max_length=400)

    @model_validator(mode="after")
    def _usable(self) -> _Written:
        for name in PATTERNS:
            for pattern in getattr(self, name):
                if not 0 < len(pattern) <= 300 or pattern.count("*") > 8:
                    raise ValueError(
                        f"{name}: a pattern has 1 to 300 characters, at most 8 of them *"
                    )
        for host in self.destinations:
            if not _DESTINATION.fullmatch(host):
                raise ValueError(
                    f"destinations: {host[:80]!r} is no host in lower case, nor a pattern"
                )
        return self


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    rules: list[_Written] = Field(max_length=_MOST_RULES)

    @model_validator(mode="after")
    def _distinct(self) -> _File:
        ids = [rule.id for rule in self.rules]
        twice = sorted({one for one in ids if ids.count(one) > 1})
        if twice:
            raise ValueError(f"two rules have the id {twice[0]}")
        return self


class PolicyFile:
    """The rules in force; for one thread at a time.

    Without a file the default rules hold. A file that cannot be read or understood denies
    everything until it can: an earlier version might allow what was just taken away.
    """

    def __init__(self, path: str | None) -> None:
        """Reads nothing yet."""
        self._path = None if path is None else Path(path)
        self._seen: tuple[int, int, int] | None = None
        self._rules: tuple[Rule, ...] = DEFAULT_RULES
        self._fault: str | None = None

    def rules(self) -> tuple[Rule, ...]:
        """The rules of now; raises SecretError where the file is not usable."""
        if self._path is None:
            return self._rules
        try:
            status = self._path.stat()
        except OSError as error:
            self._seen = None
            raise _unusable(f"it cannot be read ({error.strerror})") from None
        version = (status.st_mtime_ns, status.st_size, status.st_ino)
        if version != self._seen:
            self._fault = None
            try:
                self._rules = read(self._path)
            except ValueError as error:
                self._fault = str(error)
            self._seen = version
        if self._fault is not None:
            raise _unusable(self._fault)
        return self._rules


def read(path: Path) -> tuple[Rule, ...]:
    """The rules of a file; raises ValueError with one sentence about what is wrong."""
    try:
        with path.open("rb") as opened:
            status = os.fstat(opened.fileno())
            data = opened.read(_LARGEST_BYTES + 1)
    except OSError as error:
        raise ValueError(f"it cannot be read ({error.strerror})") from None
    if status.st_mode & 0o022:
        raise ValueError("others than its owner may write it; chmod 644 or stricter")
    if len(data) > _LARGEST_BYTES:
        raise ValueError(f"it has more than {_LARGEST_BYTES} bytes")
    try:
        content: Any = yaml.safe_load(data)
        written = _File.model_validate(content)
    except yaml.YAMLError:
        raise ValueError("it is no YAML document") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the document"
        raise ValueError(f"{where}: {first['msg']}") from None
    return tuple(
        Rule(rule.id, rule.effect, **{name: tuple(getattr(rule, name)) for name in PATTERNS})
        for rule in written.rules
    )


def _unusable(fault: str) -> SecretError:
    return SecretError(
        f"The file of RUNSTREAM_SECRETS_POLICY is not usable: {fault}.", "secret_denied", NO_RULE
    )
