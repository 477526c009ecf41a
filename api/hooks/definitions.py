"""The hooks of an installation, as a file of `RUNSTREAM_HOOKS` says them."""

from __future__ import annotations

from typing import Annotated, Final, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from streams.hooks import HookKind, HookName
from toolmeta import secret_references
from toolmeta.secret_references import SecretPath

MAX_HOOKS: Final = 500
#: How far a sender's clock may be off, in seconds, unless the hook says otherwise.
TOLERANCE_SECONDS: Final = 300
_MODEL: Final = ConfigDict(extra="forbid", frozen=True, defer_build=True)
_SOURCES: Final = frozenset({"env", "file"})


def _paths(given: object) -> object:
    """One reference, or a list of them; raises ValueError."""
    if isinstance(given, SecretPath):
        return (given,)
    listed = given if isinstance(given, list | tuple) else [given]
    return tuple(one if isinstance(one, SecretPath) else _path(one) for one in listed)


def _path(given: object) -> SecretPath:
    found = secret_references.parse(given) if isinstance(given, str) else None
    if found is None or found.source not in _SOURCES:
        # It is not repeated: somebody may have written the secret itself.
        raise ValueError("name where it is, as file/NAME or env/NAME, never the secret itself")
    return found


#: The newest first; a second one while senders change to the first.
Secrets = Annotated[
    tuple[SecretPath, ...], BeforeValidator(_paths), Field(min_length=1, max_length=2)
]


class Limit(BaseModel):
    """How much a sender may send, to one process of the API."""

    model_config = _MODEL

    deliveries: int = Field(default=600, ge=1, le=100_000)
    per_seconds: int = Field(default=60, ge=1, le=3_600)


class Hook(BaseModel):
    """One sender, and how it proves that it is the one."""

    model_config = _MODEL

    name: HookName
    description: str | None = Field(default=None, max_length=500)
    kind: HookKind
    secret: Secrets
    #: Of basic auth, for `alertmanager`; without it the secret is a bearer token.
    username: str | None = Field(default=None, pattern=r"^[\x21-\x39\x3b-\x7e]{1,100}$")
    #: For `generic`.
    tolerance_seconds: int | None = Field(default=None, ge=1, le=3_600)
    limit: Limit = Limit()

    @property
    def tolerance(self) -> int:
        """How many seconds the timestamp of a delivery may be off."""
        return TOLERANCE_SECONDS if self.tolerance_seconds is None else self.tolerance_seconds

    @model_validator(mode="after")
    def _options_have_an_effect(self) -> Self:
        if self.username is not None and self.kind != "alertmanager":
            raise ValueError("username: only a hook of the kind alertmanager has one; take it out")
        if self.tolerance_seconds is not None and self.kind != "generic":
            told = "only a hook of the kind generic has a timestamp; take it out"
            raise ValueError(f"tolerance_seconds: {told}")
        return self


class HooksDocument(BaseModel):
    """All hooks of an installation."""

    model_config = _MODEL

    hooks: tuple[Hook, ...] = Field(max_length=MAX_HOOKS)

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [one.name for one in self.hooks]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{twice[0]} is the name of two hooks; names must be unique")
        return self
