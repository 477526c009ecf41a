"""The tool `archive`: files and folders in one archive; the same content makes the same bytes."""

from __future__ import annotations

import fnmatch
import os
import secrets
import stat
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator

from toolmeta.programs import compressed
from toolmeta.programs.report import Fields, Refused, cut
from toolmeta.programs.tree import CHUNK, sha256_of

#: The first moment that a zip can name.
_ZIP_EPOCH = 315_532_800


class Source:
    """What goes into the archive, in the order of names."""

    def __init__(self, given: Fields) -> None:
        self._paths: list[str] = given["sources"]
        self._base: str | None = given.get("base")
        self._exclude: list[str] = given.get("exclude") or []
        self._self = os.path.realpath(given["path"])
        self.skipped: list[str] = []
        self.entries = self.bytes = 0

    def files(self) -> Iterator[tuple[str, str, os.stat_result]]:
        """Each file and folder: its path, its name in the archive, and what it is."""
        roots = sorted((self._name_of(path), path) for path in self._paths)
        names = [name for name, _ in roots]
        for name, path in roots:
            if names.count(name) > 1:
                raise Refused(
                    "invalid_parameters",
                    f"sources: {path} and another one are both {name} in the archive; set base",
                )
        for name, path in roots:
            yield from self._walk(path, name)

    def _name_of(self, path: str) -> str:
        path = os.path.normpath(path)
        if self._base is None:
            return os.path.basename(path) or "."
        base = os.path.normpath(self._base)
        if path != base and not path.startswith(base.rstrip("/") + "/"):
            raise Refused("invalid_parameters", f"sources: {path} is not below base ({base})")
        return os.path.relpath(path, base)

    def _walk(self, path: str, name: str) -> Iterator[tuple[str, str, os.stat_result]]:
        if any(
            fnmatch.fnmatchcase(name, pattern)
            or fnmatch.fnmatchcase(name.rpartition("/")[2], pattern)
            for pattern in self._exclude
        ):
            return
        found = os.lstat(path)
        mode = found.st_mode
        if stat.S_ISREG(mode) and os.path.realpath(path) == self._self:
            return
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
            self.skipped.append(path)
            return
        self.entries += 1
        self.bytes += found.st_size if stat.S_ISREG(mode) else 0
        yield path, name, found
        if stat.S_ISDIR(mode):
            for child in sorted(os.listdir(path)):
                below = child if name == "." else f"{name}/{child}"
                yield from self._walk(os.path.join(path, child), below)


def main(parameters: Fields) -> Fields:
    """Make the archive aside, and put it there where it differs."""
    # Folders may be as deep as a path is long.
    sys.setrecursionlimit(10_000)
    path = parameters["path"]
    kind = parameters["format"]
    kind = compressed.kind_of_name(path) if kind == "auto" else kind
    folder = os.path.dirname(path)
    aside = os.path.join(folder, f".runstream-{secrets.token_hex(8)}")
    exclude = [*(parameters.get("exclude") or []), os.path.basename(aside)]
    source = Source({**parameters, "exclude": exclude})
    try:
        # Before anything of it can be read by others.
        os.close(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        if kind == "zip":
            _zip(aside, source)
        else:
            _tar(aside, kind, source)
        digest = sha256_of(aside)
        before = sha256_of(path) if os.path.isfile(path) else None
        if before != digest:
            os.chmod(aside, int(parameters["mode"], 8))
            os.replace(aside, path)
        return {
            "changed": before != digest,
            "path": path,
            "format": kind,
            "entries": source.entries,
            "content_bytes": source.bytes,
            "size_bytes": os.stat(path).st_size,
            "sha256": digest,
            "skipped": cut(source.skipped),
        }
    except UnicodeEncodeError as error:
        raise Refused(
            "invalid_parameters", f"a name is no UTF-8, which a zip cannot hold: {error.object!r}"
        ) from error
    finally:
        if os.path.lexists(aside):
            os.unlink(aside)


def _tar(aside: str, kind: str, source: Source) -> None:
    with compressed.writing(aside, kind) as file:
        with tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            for path, name, found in source.files():
                info = archive.gettarinfo(path, name)
                # Whole seconds, so that no header is needed for the rest.
                info.mtime = int(info.mtime)
                # A second name of a file is a file of its own: what is excluded may be the first.
                if info.islnk():
                    info.type, info.linkname = tarfile.REGTYPE, ""
                    info.size = found.st_size
                if info.isreg():
                    with open(path, "rb") as content:
                        archive.addfile(info, content)
                else:
                    archive.addfile(info)
                archive.members = []  # type: ignore[attr-defined]
                archive.inodes = {}  # type: ignore[attr-defined]


def _zip(aside: str, source: Source) -> None:
    with zipfile.ZipFile(aside, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as archive:
        for path, name, found in source.files():
            folder = stat.S_ISDIR(found.st_mode)
            when = time.localtime(max(found.st_mtime, _ZIP_EPOCH + 86_400))[:6]
            info = zipfile.ZipInfo(f"{name}/" if folder else name, when)
            info.external_attr = (found.st_mode & 0xFFFF) << 16 | (0x10 if folder else 0)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3
            if folder:
                archive.writestr(info, b"")
            elif stat.S_ISLNK(found.st_mode):
                archive.writestr(info, os.fsencode(os.readlink(path)))
            else:
                info.file_size = found.st_size
                with open(path, "rb") as content, archive.open(info, "w") as packed:
                    while True:
                        data = content.read(CHUNK)
                        if not data:
                            break
                        packed.write(data)
