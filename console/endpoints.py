"""Where Kafka and Postgres are: by the environment, else by the local stack that runs here."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from console.exits import Exit, Failure

if TYPE_CHECKING:
    from authority.key_folder import KeyFolder
    from runtime.settings import CommonSettings

    S = TypeVar("S", bound=CommonSettings)

_KEYS: Final = {
    "KAFKA_BOOTSTRAP_SERVERS": "bootstrap_servers",
    "DATABASE_URL": "database_url",
    "RUNSTREAM_ENVIRONMENT": "environment",
}
_OPTIONS: Final = "RUNSTREAM_KAFKA_OPTIONS"
#: The beginnings of the options with which a client logs in.
_LOGIN: Final = ("security.", "sasl.", "ssl.")


def stack_file() -> Path:
    """The file in which a local stack stores the addresses of its broker and database."""
    return Path(os.environ.get("RUNSTREAM_STATE_DIR") or ".runstream") / "stack.json"


def adopt_local_stack() -> None:
    """Set the variables that the environment does not set from the local stack's file, if any.

    The environment of this process is the one place that every settings model reads, so a command
    of any module, and a process started by hand, uses the local stack in the same way.
    """
    from devstack.files import read_own

    missing = {name: key for name, key in _KEYS.items() if not os.environ.get(name)}
    try:
        stack = json.loads(read_own(stack_file()))
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        if not missing:
            return
        raise Failure(
            f"{stack_file()} cannot be read: {error}",
            Exit.USAGE,
            "set KAFKA_BOOTSTRAP_SERVERS and DATABASE_URL, or start the stack again: runstream up",
        ) from None
    if not isinstance(stack, dict):
        return
    login, given = _without_address(stack.get("client_options")), _given_options()
    servers = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    if servers == stack.get("bootstrap_servers") and _user(given) not in (None, _user(login)):
        return  # A process of the stack: it is given a login of its own, and all it may know.
    for name, key in missing.items():
        value = stack.get(key)
        if isinstance(value, str) and value:
            os.environ[name] = value
    # No other broker is shown this login, and this one no other login.
    if login and os.environ.get("KAFKA_BOOTSTRAP_SERVERS") == stack.get("bootstrap_servers"):
        kept = {name: given[name] for name in given if not name.startswith(_LOGIN)}
        os.environ[_OPTIONS] = json.dumps({**kept, **login})


def _given_options() -> dict[str, object]:
    try:
        return _without_address(json.loads(os.environ.get(_OPTIONS) or "{}"))
    except ValueError:
        raise Failure(f"{_OPTIONS}: is not a JSON object", Exit.USAGE) from None


def _without_address(options: object) -> dict[str, object]:
    """The options of a client without the address; none where they are no object."""
    if not isinstance(options, dict):
        return {}
    return {name: value for name, value in options.items() if name != "bootstrap.servers"}


def _user(options: dict[str, object]) -> object:
    return options.get("sasl.username")


def local_keys(bootstrap_servers: str) -> KeyFolder | None:
    """The keys of the local stack, where these brokers are its own."""
    from authority.key_folder import KeyFolder

    try:
        stack = json.loads(stack_file().read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(stack, dict) or stack.get("bootstrap_servers") != bootstrap_servers:
        return None
    return KeyFolder(stack_file().parent / "keys")


def adopt_keys(role: Literal["router", "executor", "matcher", "api"]) -> None:
    """Let a process that is started by hand beside the local stack use the stack's keys."""
    folder = local_keys(os.environ.get("KAFKA_BOOTSTRAP_SERVERS", ""))
    if folder is not None:
        os.environ.setdefault("RUNSTREAM_SIGNING_KEY", str(folder.private(role).absolute()))
        os.environ.setdefault("RUNSTREAM_TRUSTED_KEYS", str(folder.trusted.absolute()))


def load(model: type[S]) -> S:
    """The settings of a command; a wrong one raises Failure."""
    from runtime.settings import SettingsError
    from runtime.settings import load as load_settings

    try:
        return load_settings(model)
    except SettingsError as error:
        raise Failure(str(error), Exit.USAGE) from None


def server_remedy() -> str:
    """The remedy where a server does not respond."""
    if stack_file().exists():
        return "is the local stack up? runstream status, runstream up"
    return "start a local stack with runstream up, or point the variable at a running server"
