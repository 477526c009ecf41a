"""Where a command has secret references, and the parameters with their secrets filled in; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from streams.commands import StepCommand
from toolmeta.bind import target_key
from toolmeta.check import apply_defaults
from toolmeta.invocation import Problem
from toolmeta.model import Tool
from toolmeta.secret_references import SecretPath, escape, fault, is_meant, path_of
from toolmeta.step_hosts import LOGIN_SECRETS, applies

_RENDERED: Final = (
    "holds an object of type secret that is no reference of the plan: it came out of a "
    "{{ … }} or an item; write the reference itself into the parameters, or leave the object out"
)
_ABSENT: Final = "There is no secret reference at this place."
#: Parameters with the address that a tool sends to, whatever machine it runs on.
_ADDRESSES: Final = ("url", "endpoint_url", "engine")
#: The login of the machine, which other addresses do not get.
_LOGIN: Final = frozenset({"password"})


@dataclass(frozen=True, slots=True)
class Place:
    """A reference in the parameters of a command."""

    #: As problems name it.
    field: str
    keys: tuple[str | int, ...]
    path: SecretPath

    @property
    def parameter(self) -> str:
        """The parameter that it is in."""
        return str(self.keys[0])


@dataclass(frozen=True, slots=True)
class Placed:
    """The parameters of a command, those of its `secrets` among them, and their references."""

    parameters: dict[str, Any]
    places: tuple[Place, ...]

    def filled(self, values: Mapping[Place, str]) -> dict[str, Any]:
        """The parameters with the secret of every place; what is given is not changed."""
        done: Any = self.parameters
        for place in self.places:
            done = _replaced(done, place.keys, values[place])
        parameters: dict[str, Any] = done
        return parameters


def placed(tool: Tool, command: StepCommand) -> Placed | list[Problem]:
    """The places of the references, or the problems.

    A reference is only what stands at `command.secret_paths`, in parameters that are marked secret:
    a reference in another parameter is refused when it is bound, and anything that looks like one
    at another place came out of rendering, and is a problem. Secrets of the step fill parameters of
    their name.
    """
    recorded = set(command.secret_paths)
    if not tool.secret_parameters and not command.secrets and not recorded:
        return Placed(command.parameters, ())
    places: list[Place] = []
    problems: list[Problem] = []
    spellings = {
        spelling
        for name in tool.secret_parameters
        for spelling in (name, *tool.parameters[name].aliases)
    }

    def place(reference: Any, field: str, keys: tuple[str | int, ...]) -> None:
        path = path_of(reference)
        if path is not None:
            places.append(Place(field, keys, path))
            return
        told = f"This {fault(reference)}." if is_meant(reference) else _ABSENT
        problems.append(Problem(field[:200], told))

    def look(value: Any, field: str, pointer: str, keys: tuple[str | int, ...]) -> None:
        if pointer in recorded:
            recorded.discard(pointer)
            place(value, field, keys)
        elif is_meant(value):
            problems.append(Problem(field[:200], _RENDERED))
        elif isinstance(value, dict):
            for name, item in value.items():
                look(item, f"{field}.{name}", f"{pointer}/{escape(name)}", (*keys, name))
        elif isinstance(value, list):
            for index, item in enumerate(value):
                look(item, f"{field}[{index}]", f"{pointer}/{index}", (*keys, index))

    parameters = dict(command.parameters)
    for name, value in parameters.items():
        if name in spellings:
            look(value, f"parameters.{name}", f"/{escape(name)}", (name,))
    for pointer in sorted(recorded):
        first = pointer.split("/")[1] if "/" in pointer else ""
        if first.replace("~1", "/").replace("~0", "~") in spellings:
            field = "parameters" + pointer.replace("/", ".")
            problems.append(Problem(field[:200], _ABSENT))
    for name, value in (command.secrets or {}).items():
        if name in LOGIN_SECRETS and applies(tool):
            continue  # The driver resolves it when it connects.
        field = f"secrets.{name}"
        if name not in spellings:
            problems.append(Problem(field, f"{tool.name} has no use for a secret of that name"))
        elif parameters.get(name) is None:
            parameters[name] = value
            place(value, field, (name,))
    return problems or Placed(parameters, tuple(places))


def _replaced(value: Any, keys: tuple[str | int, ...], secret: str) -> Any:
    if not keys:
        return secret
    copied = value.copy()
    copied[keys[0]] = _replaced(value[keys[0]], keys[1:], secret)
    return copied


def destination_of(tool: Tool, given: Placed, parameter: str, command: StepCommand) -> str | None:
    """The host that gets the secret of a parameter, as the plan names it; None where none is named.

    An address that is a secret itself is not known before it is resolved.
    """
    values = apply_defaults(tool, given.parameters)
    if parameter not in _LOGIN or "host" not in values:
        for name in _ADDRESSES:
            address = values.get(name)
            if is_meant(address):
                return None
            # A socket is on the machine that the program runs on.
            if type(address) is str and "//" in address and not address.startswith("unix:"):
                return _host_of(address)
    named: list[Any] = [values.get(name) for name in ("server", *tool.target, "host")]
    if command.assets is not None and len(command.assets) == 1:
        named.extend(command.assets)
    return next((key for value in named if (key := target_key(value)) is not None), None)


def _host_of(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None
