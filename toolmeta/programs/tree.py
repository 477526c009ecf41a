"""Files below one folder, reached through no symbolic link; written aside and renamed."""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from collections.abc import Iterable

from toolmeta.programs.report import Refused

CHUNK = 1024 * 1024
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def sha256_of(path: str) -> str:
    """Of a file, in hexadecimal; read in pieces."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while True:
            data = file.read(CHUNK)
            if not data:
                return digest.hexdigest()
            digest.update(data)


class Tree:
    """The folder; names in it are tuples of parts, none of them `..`."""

    def __init__(self, path: str) -> None:
        os.makedirs(path, exist_ok=True)
        self._path = path
        self._top = os.open(path, _FOLDER)

    def folder(self, parts: tuple[str, ...]) -> tuple[int, bool]:
        """A folder, made where it is not there; and whether it was made. The caller closes it."""
        at = os.dup(self._top)
        made = False
        for number, part in enumerate(parts):
            try:
                try:
                    os.mkdir(part, 0o755, dir_fd=at)
                    made = True
                except FileExistsError:
                    made = False
                try:
                    below = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=at)
                except OSError as error:
                    name = "/".join((self._path, *parts[: number + 1]))
                    if not stat.S_ISDIR(os.lstat(part, dir_fd=at).st_mode):
                        raise Refused(
                            "conflict", f"{name}: is no folder, and a folder is to be there"
                        ) from error
                    raise
            finally:
                os.close(at)
            at = below
        return at, made

    def file(self, parts: tuple[str, ...], source: Iterable[bytes], mode: int, time: float) -> bool:
        """Write a file where it differs; whether it did."""
        at, _ = self.folder(parts[:-1])
        name, aside = parts[-1], f".runstream-{secrets.token_hex(8)}"
        try:
            old = self._regular(at, parts)
            try:
                same = _written(at, aside, source, old, mode, time)
                if same:
                    return False
                os.rename(aside, name, src_dir_fd=at, dst_dir_fd=at)
                return True
            finally:
                if old is not None:
                    os.close(old)
                _remove(aside, at)
        finally:
            os.close(at)

    def link(self, parts: tuple[str, ...], target: str) -> bool:
        """Make a symbolic link; whether it was another one before."""
        at, _ = self.folder(parts[:-1])
        name, aside = parts[-1], f".runstream-{secrets.token_hex(8)}"
        try:
            found = self._found(at, parts)
            if found is not None and stat.S_ISLNK(found.st_mode):
                if os.readlink(name, dir_fd=at) == target:
                    return False
            os.symlink(target, aside, dir_fd=at)
            try:
                os.rename(aside, name, src_dir_fd=at, dst_dir_fd=at)
            finally:
                _remove(aside, at)
            return True
        finally:
            os.close(at)

    def same(self, parts: tuple[str, ...], other: tuple[str, ...]) -> bool:
        """Make a second name of a file of this folder; whether it was none before."""
        at, _ = self.folder(parts[:-1])
        source, _ = self.folder(other[:-1])
        aside = f".runstream-{secrets.token_hex(8)}"
        try:
            wanted = self._found(source, other)
            if wanted is None or not stat.S_ISREG(wanted.st_mode):
                raise Refused("invalid_parameters", f"{'/'.join(other)}: is linked to and no file")
            found = self._found(at, parts)
            if found is not None and (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
                return False
            os.link(other[-1], aside, src_dir_fd=source, dst_dir_fd=at, follow_symlinks=False)
            try:
                os.rename(aside, parts[-1], src_dir_fd=at, dst_dir_fd=at)
            finally:
                _remove(aside, at)
            return True
        finally:
            os.close(source)
            os.close(at)

    def _found(self, at: int, parts: tuple[str, ...]) -> os.stat_result | None:
        try:
            found = os.lstat(parts[-1], dir_fd=at)
        except FileNotFoundError:
            return None
        if stat.S_ISDIR(found.st_mode):
            name = "/".join((self._path, *parts))
            raise Refused("conflict", f"{name}: is a folder, and a file is to be there")
        return found

    def _regular(self, at: int, parts: tuple[str, ...]) -> int | None:
        """The file that is there, to be compared; None where it is none, or may not be read."""
        found = self._found(at, parts)
        if found is None or not stat.S_ISREG(found.st_mode):
            return None
        try:
            return os.open(parts[-1], _OLD, dir_fd=at)
        except PermissionError:
            return None


def _written(
    at: int, aside: str, source: Iterable[bytes], old: int | None, mode: int, time: float
) -> bool:
    """Write `aside`; whether the old file is the same."""
    file = os.open(aside, _NEW, 0o600, dir_fd=at)
    try:
        same = old is not None
        for data in source:
            view = memoryview(data)
            while view:
                view = view[os.write(file, view) :]
            same = same and old is not None and _next(old, len(data)) == data
        same = same and old is not None and not os.read(old, 1)
        os.fchmod(file, mode)
        os.utime(file, (time, time))
        if same and old is not None:
            found = os.fstat(old)
            return stat.S_IMODE(found.st_mode) == mode
        return False
    finally:
        os.close(file)


def _next(file: int, size: int) -> bytes:
    found = b""
    while len(found) < size:
        data = os.read(file, size - len(found))
        if not data:
            break
        found += data
    return found


def _remove(name: str, at: int) -> None:
    try:
        os.unlink(name, dir_fd=at)
    except FileNotFoundError:
        pass
