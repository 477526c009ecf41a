"""Secret references of a step, resolved in the executor right before its tool is bound.

A reference is `{"type": "secret", "path": "env/NAME"}`: the variable `SECRET_NAME` of this
process; or `"file/NAME"`: a file in `RUNSTREAM_SECRETS_DIR`, one of the tenant
(`<dir>/<tenant>/NAME`) before one for all (`<dir>/NAME`). A colon is accepted for the slash.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from drivers.known_secrets import KnownSecrets
from drivers.secret_forms import SHORTEST
from streams.commands import StepCommand
from toolmeta.invocation import Problem
from toolmeta.model import Tool
from toolmeta.secret_references import escape, fault, is_meant, path_of

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
_LARGEST_BYTES: Final = 64 * 1024
_RENDERED: Final = (
    "holds an object of type secret that is no reference of the plan: it came out of a "
    "{{ … }} or an item; write the reference itself into the parameters, or leave the object out"
)
#: Secrets of a step that fill no parameter: those of the SSH login.
CONNECTION: Final = frozenset({"ssh_password", "ssh_key"})


class SecretError(Exception):
    """A reference has no usable secret; the message is one sentence without any value."""


class Secrets:
    """Where this executor finds secrets."""

    def __init__(
        self,
        directory: str | None = None,
        variables: Mapping[str, str] = _NOTHING,
        passwords: Iterable[str] = (),
    ) -> None:
        """`directory` holds the files, None: there are none; `variables` are those of `env/NAME`.

        They are given by name, without `SECRET_`: no process keeps them in its environment.
        `passwords` are others that the process holds; no step can refer to them.
        """
        #: What every attempt masks.
        self.known = KnownSecrets([*variables.values(), *passwords])
        self._directory = None if directory is None else Path(directory)
        self._variables = variables

    def resolve(self, reference: Any, tenant: str) -> str:
        """The secret of a reference, from now on masked everywhere; raises SecretError.

        Reads a small file or a variable.
        """
        if not is_meant(reference):
            raise SecretError("This is no secret reference.")
        path = path_of(reference)
        if path is None:
            raise SecretError(f"This {fault(reference)}.")
        kind, name = path
        text = self._variables.get(name) if kind == "env" else self._read(name, tenant)
        if text is None:
            raise SecretError(f"This executor has no secret {kind}/{name}.")
        if "\x00" in text or len(text) < SHORTEST:
            raise SecretError(
                f"The secret {kind}/{name} has fewer than {SHORTEST} characters or holds a NUL, "
                "so it could not be masked."
            )
        self.known.add(text)
        return text

    def resolved(
        self, tool: Tool, command: StepCommand
    ) -> tuple[dict[str, Any], tuple[str, ...]] | list[Problem]:
        """The parameters with their secrets resolved, and the secrets; or the problems.

        Resolved is only what stands at `command.secret_paths`, in parameters that are marked
        secret: a reference in another parameter is refused by `bind`, and anything that looks like
        one at another place came out of rendering, and is a problem. Secrets of the step fill
        parameters of their name.
        """
        recorded = set(command.secret_paths)
        if not tool.secret_parameters and not command.secrets and not recorded:
            return command.parameters, ()
        values: list[str] = []
        problems: list[Problem] = []
        spellings = {
            spelling: name
            for name in tool.secret_parameters
            for spelling in (name, *tool.parameters[name].aliases)
        }

        def value_of(reference: Any, field: str) -> Any:
            try:
                values.append(self.resolve(reference, command.tenant))
            except SecretError as error:
                problems.append(Problem(field, str(error)))
                return reference
            return values[-1]

        def look(value: Any, field: str, pointer: str) -> Any:
            if pointer in recorded:
                recorded.discard(pointer)
                return value_of(value, field)
            if is_meant(value):
                problems.append(Problem(field, _RENDERED))
            elif isinstance(value, dict):
                return {
                    name: look(item, f"{field}.{name}", f"{pointer}/{escape(name)}")
                    for name, item in value.items()
                }
            elif isinstance(value, list):
                return [
                    look(item, f"{field}[{index}]", f"{pointer}/{index}")
                    for index, item in enumerate(value)
                ]
            return value

        parameters = {
            name: look(value, f"parameters.{name}", f"/{escape(name)}")
            if name in spellings
            else value
            for name, value in command.parameters.items()
        }
        for pointer in sorted(recorded):
            first = pointer.split("/")[1] if "/" in pointer else ""
            if first.replace("~1", "/").replace("~0", "~") in spellings:
                field = "parameters" + pointer.replace("/", ".")
                problems.append(Problem(field[:200], "There is no secret reference at this place."))
        for name, value in (command.secrets or {}).items():
            field = f"secrets.{name}"
            if name in CONNECTION and tool.run.driver == "command":
                continue  # The driver resolves it when it connects.
            if name not in spellings:
                problems.append(Problem(field, f"{tool.name} has no use for a secret of that name"))
            elif parameters.get(name) is None:
                parameters[name] = value_of(value, field)
        return problems or (parameters, tuple(values))

    def _read(self, name: str, tenant: str) -> str | None:
        if self._directory is None:
            raise SecretError("This executor has no RUNSTREAM_SECRETS_DIR.")
        root = self._directory.resolve()
        for file in (root / tenant / name, root / name):
            try:
                real = file.resolve(strict=True)
                if not real.is_relative_to(root) or not real.is_file():
                    continue
                with real.open("rb") as opened:
                    data = opened.read(_LARGEST_BYTES + 1)
            except OSError:
                continue
            if len(data) > _LARGEST_BYTES:
                raise SecretError(f"The secret file/{name} is larger than {_LARGEST_BYTES} bytes.")
            try:
                return data.decode().removesuffix("\n").removesuffix("\r")
            except UnicodeDecodeError:
                raise SecretError(f"The secret file/{name} is not UTF-8 text.") from None
        return None
