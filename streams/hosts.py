"""How a step gets onto its host: by which way and login, and as whom its program runs there."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

#: An account of a host, as it may stand in a command line.
ACCOUNT: Final = r"^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}\$?$"
#: Hosts that a connection may go through one after the other.
MAX_JUMPS: Final = 5

# A field that is not known is refused, unlike elsewhere: without it, the program would run as
# another user, or over another way, than was meant.
_CLOSED: Final = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True, defer_build=True)

AccountName = Annotated[str, Field(pattern=ACCOUNT)]
Port = Annotated[int, Field(strict=True, ge=1, le=65_535)]


class Become(BaseModel):
    """Another user of the host, as whom the program runs there, by sudo."""

    model_config = _CLOSED

    user: AccountName = "root"
    password: Any = Field(
        default=None,
        description="reference to the secret that sudo asks for: the password of the login's user",
    )


class JumpHost(BaseModel):
    """An SSH server on the way to the host, with the login for it."""

    model_config = _CLOSED

    host: str = Field(min_length=1, max_length=253)
    port: Port | None = None
    user: AccountName | None = None
    key: Any = Field(default=None, description="reference to a secret, an OpenSSH private key")
    password: Any = Field(default=None, description="reference to a secret")


def _one_jump(value: Any) -> Any:
    return {"host": value} if isinstance(value, str) else value


class StepConnection(BaseModel):
    """What of the SSH connection to the host the step itself says."""

    model_config = _CLOSED

    port: Port | None = None
    user: AccountName | None = None
    jump: (
        list[Annotated[JumpHost, BeforeValidator(_one_jump, json_schema_input_type=JumpHost | str)]]
        | None
    ) = Field(
        default=None,
        max_length=MAX_JUMPS,
        description="hosts to go through, the nearest to the executor first; text is the host",
    )


def _written_become(value: Any) -> Any:
    if isinstance(value, bool):
        return {} if value else None
    return value


#: What a plan may say: `true` is root.
WrittenBecome = Annotated[
    Become | None,
    BeforeValidator(_written_become, json_schema_input_type=Become | bool | None),
]
