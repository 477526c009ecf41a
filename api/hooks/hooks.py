"""The hooks that count now, with their secrets; read again when a file of them changes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from api.hooks import file
from api.hooks.definitions import Hook
from api.hooks.file import Fault, HooksError
from api.hooks.pace import Pace
from api.hooks.proof import key_of
from runtime import clock, secret_files
from runtime.secret_files import UnusableSecret
from toolmeta.secret_references import SecretPath

_Stamp = tuple[int, int, int] | None


@dataclass(frozen=True, slots=True)
class KnownHook:
    """A hook that deliveries are taken for."""

    hook: Hook
    keys: tuple[bytes, ...]
    pace: Pace

    def __repr__(self) -> str:
        """Never the keys."""
        return f"KnownHook({self.hook.name!r})"


class SecretSource:
    """Where the secrets of hooks are."""

    def __init__(self, variables: Mapping[str, str], folder: Path | None) -> None:
        """`variables` are those of the process, without `SECRET_`; `folder` has the files."""
        self._variables = dict(variables)
        self._folder = folder

    def file_of(self, path: SecretPath) -> Path | None:
        """The file that it is in, if it is in one."""
        return None if path.source != "file" or self._folder is None else self._folder / path.name

    def read(self, path: SecretPath) -> str:
        """The secret; raises ValueError with a sentence that names it."""
        if path.source == "env":
            found = self._variables.get(path.name)
            remedy = f"set SECRET_{path.name}"
        elif self._folder is None:
            raise ValueError(f"{path} needs RUNSTREAM_SECRETS_DIR, the folder of its file")
        else:
            try:
                found = secret_files.read(self._folder, [path.name], path.name, "the API")
            except UnusableSecret as error:
                raise ValueError(str(error)) from None
            except OSError as error:
                raise ValueError(f"it cannot be read: {error.strerror}") from None
            remedy = f"make the file {path.name} in RUNSTREAM_SECRETS_DIR, mode 600"
        if found is None:
            raise ValueError(f"there is no secret {path}: {remedy}")
        return found


class Hooks:
    """The hooks of a file; what cannot be used leaves them as they are, and is reported once."""

    def __init__(
        self, path: Path, secrets: SecretSource, report: Callable[[HooksError], None]
    ) -> None:
        """Read the file; raises HooksError where it, or a secret, cannot be used."""
        self._path = path
        self._secrets = secrets
        self._report = report
        self._files: tuple[Path, ...] = (path,)
        self._known: dict[str, KnownHook] = {}
        self._read()

    def __len__(self) -> int:
        """How many there are."""
        return len(self._known)

    def find(self, name: str) -> KnownHook | None:
        """The hook of this name, as it counts now; from any thread."""
        return self._known.get(name)

    def refresh(self) -> bool:
        """Read again if a file has changed; whether there are other hooks or secrets now."""
        if self._stamps() == self._seen:
            return False
        try:
            self._read()
        except HooksError as error:
            self._report(error)
            return False
        return True

    def _read(self) -> None:
        self._seen = self._stamps()
        found = file.read(self._path)
        named = (self._secrets.file_of(path) for hook in found for path in hook.secret)
        self._files = (self._path, *filter(None, named))
        self._seen = self._stamps()
        faults: list[Fault] = []
        known = {
            hook.name: KnownHook(hook, tuple(self._keys(number, hook, faults)), self._pace(hook))
            for number, hook in enumerate(found)
        }
        if faults:
            raise HooksError(faults)
        # As a whole, since the event loop reads it meanwhile.
        self._known = known

    def _keys(self, number: int, hook: Hook, faults: list[Fault]) -> Iterator[bytes]:
        for path in hook.secret:
            try:
                yield key_of(hook, self._secrets.read(path))
            except ValueError as error:
                # After `secret:` a log line is masked.
                told = f"{path}, the secret of {hook.name}, cannot be used: {error}"
                faults.append(Fault(f"hooks.{number}", told))

    def _pace(self, hook: Hook) -> Pace:
        before = self._known.get(hook.name)
        if before is not None and before.hook.limit == hook.limit:
            return before.pace
        return Pace(hook.limit, clock.monotonic())

    def _stamps(self) -> list[_Stamp]:
        return [_stamp(path) for path in self._files]


def _stamp(path: Path) -> _Stamp:
    """What changes with a file: replaced, written, or of another size."""
    try:
        found = os.stat(path)  # noqa: PTH116 - one call
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
