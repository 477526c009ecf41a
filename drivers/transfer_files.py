"""Files that a step reads or writes by the executor itself: uploads, downloads, attachments.

The executor may do more on its machine than a plan, and no program of a step is between them: so a
file lies below a folder that the operator named, in the part of the plan's own tenant, and nothing
from the folder on is a link or writable for the programs of steps. Every name is opened relative to
the folder before it, so that nothing is replaced between a look at it and its use.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, Literal

from drivers.code_paths import misspelt
from drivers.context import Failure, RunContext
from drivers.errors import fail
from drivers.step_users import StepUsers
from runtime.config_folders import inside, plain
from toolmeta.invocation import Invocation

SETTING: Final = "RUNSTREAM_TRANSFER_FOLDERS"
LIBRARY: Final = "RUNSTREAM_LIBRARY_FOLDERS"
#: Where a path of a plan may lie: in the part of its tenant, in the operator's library, or either.
Allowed = Literal["transfers", "library", "either"]
#: Of what is read or written at a time.
PIECE_BYTES: Final = 256 * 1024
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NAME_BYTES: Final = 200


class Unusable(Exception):
    """The file may not be used; `failure` says why."""

    def __init__(self, failure: Failure) -> None:
        """Nothing was read or written."""
        super().__init__(failure.message)
        self.failure = failure


@dataclass(frozen=True, slots=True)
class Moved:
    """A file that was sent or received as a whole."""

    path: str
    bytes: int
    sha256: str

    @property
    def fields(self) -> dict[str, Any]:
        """For the output of the step."""
        return {"path": self.path, "bytes": self.bytes, "sha256": self.sha256}


@dataclass(frozen=True, slots=True)
class Named:
    """A path of a plan, as the parts below a folder of the operator."""

    field: str
    text: str
    folder: str
    parts: tuple[str, ...]


class TransferFiles:
    """The files that one step may use; every method blocks."""

    def __init__(self, invocation: Invocation, context: RunContext) -> None:
        """By the settings of this executor."""
        self._invocation = invocation
        self._tenant = context.command.tenant
        self._folders = context.resources.settings.transfer_folders
        self._library = context.resources.settings.library_folders
        self._users: StepUsers = context.resources.step_users

    def fail(self, error_class: str, message: str) -> Unusable:
        """To be raised."""
        return Unusable(fail(self._invocation, error_class, message))

    @contextmanager
    def reading(
        self, field: str, text: str, most_bytes: int, allowed: Allowed = "transfers"
    ) -> Iterator[tuple[BinaryIO, int]]:
        """The file, open for reading, and its size; raises Unusable."""
        named = self.named(field, text, allowed)
        with self.below(named, make=False) as folder:
            try:
                descriptor = os.open(named.parts[-1], _READ, dir_fd=folder)
            except OSError as error:
                raise self.unreadable(named, error) from None
            try:
                found = os.fstat(descriptor)
                self.checked(named, found)
            except BaseException:
                os.close(descriptor)
                raise
            with os.fdopen(descriptor, "rb", buffering=0) as file:
                if found.st_size > most_bytes:
                    message = (
                        f"{field}: {text[:300]} has {found.st_size} bytes, more than {most_bytes}"
                    )
                    raise self.fail("invalid_parameters", message)
                yield file, found.st_size

    @contextmanager
    def writing(self, field: str, text: str, *, overwrite: bool, mode: int) -> Iterator[NewFile]:
        """A file that takes the place of `text` once it is kept, and is gone else."""
        named = self.named(field, text)
        if len(os.fsencode(named.parts[-1])) > _NAME_BYTES:
            raise self.fail("invalid_parameters", f"{field}: the name of the file is too long")
        with self.below(named, make=True) as folder:
            self._free(named, folder, overwrite=overwrite)
            part = f".{named.parts[-1]}.{secrets.token_hex(8)}.part"
            try:
                descriptor = os.open(part, _WRITE, 0o600, dir_fd=folder)
            except OSError as error:
                raise self.unreadable(named, error) from None
            kept = False
            try:
                with os.fdopen(descriptor, "wb", buffering=0) as file:
                    new = NewFile(file, text, lambda error: self.unwritten(named, error))
                    yield new
                    if new.finished:
                        try:
                            os.fchmod(file.fileno(), mode)
                            os.fsync(file.fileno())
                            kept = self._take_place(named, folder, part, overwrite=overwrite)
                        except OSError as error:
                            raise self.unwritten(named, error) from None
            finally:
                if not kept:
                    _remove(part, folder)

    def unwritten(self, named: Named, error: OSError) -> Unusable:
        """Why it cannot be written, to be raised."""
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        message = f"{named.field}: {named.text[:300]} cannot be written: {error.strerror}"
        return self.fail("limit_exceeded" if full else "capability_missing", message)

    def _take_place(self, named: Named, folder: int, part: str, *, overwrite: bool) -> bool:
        name = named.parts[-1]
        if overwrite:
            self._free(named, folder, overwrite=True)
            os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)
        else:
            try:
                os.link(part, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
            except FileExistsError:
                raise self._exists(named) from None
            _remove(part, folder)
        os.fsync(folder)
        return True

    def _free(self, named: Named, folder: int, *, overwrite: bool) -> None:
        try:
            found = os.stat(named.parts[-1], dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return
        if not overwrite:
            raise self._exists(named)
        self.checked(named, found)

    def _exists(self, named: Named) -> Unusable:
        message = f"{named.field}: {named.text[:300]} is there already; say `overwrite: true`"
        return self.fail("conflict", message)

    def checked(self, named: Named, found: os.stat_result) -> None:
        """Raises Unusable where it is no file, or one that programs of steps may write."""
        if not stat.S_ISREG(found.st_mode):
            message = f"{named.field}: {named.text[:300]} is no file"
            raise self.fail("invalid_parameters", message)
        if self._users.may_write(found):
            message = f"{named.text[:300]} can be written by the programs of steps"
            raise self._refused(named.field, message)

    def named(self, field: str, text: str, allowed: Allowed = "transfers") -> Named:
        """A path of the plan, in the part of its tenant or in the library; raises Unusable."""
        reason = misspelt(text)
        if reason is not None:
            raise self._refused(field, reason, allowed)
        usual = plain(text) or ""
        for folder in self._folders if allowed != "library" else ():
            own = f"{folder}/{self._tenant}"
            if usual != own and inside(usual, [own]):
                return Named(field, text, folder, tuple(usual[len(folder) + 1 :].split("/")))
        # The library is for all tenants, a folder of transfers inside it is not.
        if allowed != "transfers" and not inside(usual, self._folders):
            for folder in self._library:
                if usual != folder and inside(usual, [folder]):
                    return Named(field, text, folder, tuple(usual[len(folder) + 1 :].split("/")))
        raise self._refused(field, f"{text[:300]} is in no folder that may be used", allowed)

    def is_tenants(self, text: str) -> bool:
        """Whether the path is the tenant's own part of a folder."""
        return plain(text) in {f"{folder}/{self._tenant}" for folder in self._folders}

    def _refused(self, field: str, reason: str, allowed: Allowed = "transfers") -> Unusable:
        told = []
        if allowed != "library":
            listed = ", ".join(f"{folder}/{self._tenant}" for folder in self._folders) or "none"
            told.append(f"the folders of transfers in {SETTING} (for this tenant: {listed})")
        if allowed != "transfers":
            listed = ", ".join(self._library) or "none"
            told.append(f"those of the library in {LIBRARY} ({listed})")
        message = f"{field}: {reason}; the operator of this executor names {' and '.join(told)}"
        return self.fail("capability_missing", message)

    @contextmanager
    def below(self, named: Named, *, make: bool) -> Iterator[int]:
        """The folder that the file is in; with `make` the tenant's is made where it is absent."""
        try:
            here = os.open(os.path.realpath(named.folder), _FOLDER)
        except OSError as error:
            raise self.unreadable(named, error) from None
        try:
            for depth, part in enumerate(named.parts):
                if self._users.may_write(os.fstat(here)):
                    place = "/".join((named.folder, *named.parts[:depth]))
                    message = f"{place[:300]} can be written by the programs of steps"
                    raise self._refused(named.field, message)
                if depth == len(named.parts) - 1:
                    break
                if make and depth == 0:
                    _make(part, here)
                try:
                    deeper = os.open(part, _FOLDER, dir_fd=here)
                except OSError as error:
                    raise self.unreadable(named, error) from None
                os.close(here)
                here = deeper
            yield here
        finally:
            os.close(here)

    def unreadable(self, named: Named, error: OSError) -> Unusable:
        """Why it cannot be used, to be raised."""
        if isinstance(error, FileNotFoundError):
            message = f"{named.field}: this executor has no {named.text[:300]}"
            return self.fail("not_found", message)
        message = f"{named.field}: {named.text[:300]} cannot be used: {error.strerror}"
        return self.fail("capability_missing", message)


class NewFile:
    """A file while it is written; nothing of it is visible under its name."""

    def __init__(self, file: BinaryIO, path: str, unusable: Callable[[OSError], Unusable]) -> None:
        """Empty; `unusable` says what a fault of the disk means."""
        self._file = file
        self._unusable = unusable
        self._path = path
        self._hash = hashlib.sha256()
        self.bytes = 0
        self.finished = False

    def write(self, piece: bytes) -> None:
        """Append to it; raises Unusable."""
        left = memoryview(piece)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise self._unusable(error) from None
        self._hash.update(piece)
        self.bytes += len(piece)

    def finish(self) -> Moved:
        """It is whole, and takes its place at the end of the block."""
        self.finished = True
        return Moved(self._path, self.bytes, self._hash.hexdigest())


def _make(name: str, folder: int) -> None:
    try:
        os.mkdir(name, 0o700, dir_fd=folder)
    except OSError:
        return  # Whoever opens it says what is wrong.


def _remove(name: str, folder: int) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return
