"""The tool `unarchive`: what an archive holds is in a folder, and nothing anywhere else."""

from __future__ import annotations

import lzma
import os
import stat
import tarfile
import time
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, NamedTuple

from toolmeta.programs import compressed
from toolmeta.programs.report import Fields, Refused, cut
from toolmeta.programs.tree import CHUNK, Tree, sha256_of

#: Bytes of one header that only says how the next entry is called, and of a link in a zip.
_LONGEST_HEADER = 1024 * 1024
_LONGEST_LINK = 4096
_HEADERS = (
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)  # fmt: skip


class Entry(NamedTuple):
    """One entry, whatever the format: `kind` is file, folder, link or same."""

    name: str
    kind: str
    size: int
    mode: int
    time: float
    target: str
    source: IO[bytes] | None


class _Header(tarfile.TarInfo):
    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _HEADERS and self.size > _LONGEST_HEADER:
            raise Refused("limit_exceeded", "the archive has a header of more than 1 MiB")
        found: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]
        return found


def main(parameters: Fields) -> Fields:
    """Look at all of the archive, then unpack it; says what differed."""
    path, folder = parameters["path"], parameters["destination"]
    creates = parameters.get("creates")
    if creates is not None and os.path.lexists(creates):
        return _report(folder, [], 0, 0, skipped=True)
    wanted = parameters.get("sha256")
    if wanted is not None and sha256_of(path) != wanted:
        raise Refused("conflict", f"{path}: its SHA-256 is another one than sha256")
    kind = parameters["format"]
    kind = compressed.kind_of_file(path) if kind == "auto" else kind
    limits = _Limits(parameters["max_bytes"], parameters["max_entries"])
    strip = parameters["strip_components"]
    with _entries(path, kind, limits) as entries:
        count = sum(1 for entry in entries if _checked(entry, strip) is not None)
    limits = _Limits(parameters["max_bytes"], parameters["max_entries"])
    tree = Tree(folder)
    changed: list[str] = []
    written = 0
    with _entries(path, kind, limits) as entries:
        for entry in entries:
            parts = _checked(entry, strip)
            if parts is not None and _put(tree, parts, entry, strip, limits):
                written += 1
                if len(changed) < 1_000:
                    changed.append("/".join(parts))
    return _report(folder, changed, count, written)


def _report(
    folder: str, changed: list[str], count: int, written: int, *, skipped: bool = False
) -> Fields:
    return {
        "changed": bool(written),
        "destination": folder,
        "entries": count,
        "written": written,
        "written_paths": cut(changed),
        "skipped": skipped,
    }


class _Limits:
    def __init__(self, most_bytes: int, most_entries: int) -> None:
        self._most_bytes, self._most_entries = most_bytes, most_entries
        self._bytes = self._entries = 0

    def entry(self) -> None:
        """Count one more."""
        self._entries += 1
        if self._entries > self._most_entries:
            raise Refused(
                "limit_exceeded",
                f"the archive has more than {self._most_entries} entries (max_entries)",
            )

    def announced(self, size: int) -> None:
        """An entry says that it is so large."""
        if size > self._most_bytes:
            self._too_large()

    def bytes(self, count: int) -> None:
        """So many bytes were unpacked."""
        self._bytes += count
        if self._bytes > self._most_bytes:
            self._too_large()

    def _too_large(self) -> None:
        raise Refused(
            "limit_exceeded",
            f"the archive unpacks to more than {self._most_bytes} bytes (max_bytes)",
        )


@contextmanager
def _entries(path: str, kind: str, limits: _Limits) -> Iterator[Iterable[Entry]]:
    try:
        if kind == "zip":
            with open(path, "rb") as file:
                _bound_directory(file, limits, path)
                with zipfile.ZipFile(file) as packed:
                    yield _of_zip(packed, limits)
            return
        with compressed.reading(path, kind) as source:
            with tarfile.open(fileobj=source, mode="r|", tarinfo=_Header) as archive:
                yield _of_tar(archive, limits)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError) as error:
        raise _broken(path, kind, error) from error
    except (NotImplementedError, RuntimeError) as error:
        raise _broken(path, kind, error) from error
    except OSError as error:
        # gzip and bz2 say of a file that it is none by one without a number.
        if error.errno is not None:
            raise
        raise _broken(path, kind, error) from error


def _broken(path: str, kind: str, error: Exception) -> Refused:
    return Refused("invalid_parameters", f"{path} is no whole {kind}: {error}")


def _bound_directory(file: IO[bytes], limits: _Limits, path: str) -> None:
    """Look at the length of a zip's list of entries before it is read as a whole."""
    found = zipfile._EndRecData(file)  # type: ignore[attr-defined]
    if not found:
        raise Refused("invalid_parameters", f"{path} is no whole zip: it has no list of entries")
    for _ in range(min(int(found[4]), 10_000_000)):
        limits.entry()


def _of_tar(archive: tarfile.TarFile, limits: _Limits) -> Iterator[Entry]:
    for info in archive:
        limits.entry()
        if info.isreg():
            kind, source = "file", archive.extractfile(info)
        else:
            kind, source = _kind_of(info), None
        if kind == "file":
            limits.announced(info.size)
            limits.bytes(info.size)
        yield Entry(info.name, kind, info.size, info.mode, float(info.mtime), info.linkname, source)
        # Else all of them stay in memory.
        archive.members = []  # type: ignore[attr-defined]


def _kind_of(info: tarfile.TarInfo) -> str:
    if info.isdir():
        return "folder"
    if info.issym():
        return "link"
    return "same" if info.islnk() else "other"


def _of_zip(archive: zipfile.ZipFile, limits: _Limits) -> Iterator[Entry]:
    for info in archive.infolist():
        mode = info.external_attr >> 16
        if info.flag_bits & 1:
            raise Refused("invalid_parameters", f"{info.filename}: is encrypted")
        when = time.mktime((*info.date_time, 0, 0, -1))
        if info.is_dir():
            yield Entry(info.filename, "folder", 0, mode, when, "", None)
            continue
        if mode and not stat.S_ISREG(mode) and not stat.S_ISLNK(mode) and stat.S_IFMT(mode):
            yield Entry(info.filename, "other", 0, mode, when, "", None)
            continue
        limits.announced(info.file_size)
        with archive.open(info) as source:
            if stat.S_ISLNK(mode):
                target = os.fsdecode(source.read(_LONGEST_LINK))
                yield Entry(info.filename, "link", 0, mode, when, target, None)
            else:
                yield Entry(info.filename, "file", info.file_size, mode or 0o644, when, "", source)


def _checked(entry: Entry, strip: int) -> tuple[str, ...] | None:
    """Where the entry goes; None where stripping leaves nothing of its name."""
    parts = _parts(entry.name, entry.name)[strip:]
    if not parts:
        return None
    if entry.kind == "other":
        raise Refused("invalid_parameters", f"{entry.name}: is a device, a pipe or a socket")
    if entry.kind == "link":
        _check_link(entry, len(parts) - 1)
    if entry.kind == "same":
        _parts(entry.target, entry.name)
    return tuple(parts)


def _parts(name: str, of: str) -> list[str]:
    if name.startswith("/") or "\x00" in name:
        raise Refused("invalid_parameters", f"{of}: leads to an absolute path")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise Refused("invalid_parameters", f"{of}: leads out of the folder (..)")
    return parts


def _check_link(entry: Entry, depth: int) -> None:
    """A link stays in the folder whatever else is a link there: `..` stands at its begin only."""
    parts = [part for part in entry.target.split("/") if part not in ("", ".")]
    ups = next((n for n, part in enumerate(parts) if part != ".."), len(parts))
    if entry.target.startswith("/") or ".." in parts[ups:] or ups > depth or not entry.target:
        raise Refused(
            "invalid_parameters",
            f"{entry.name}: a link that leads out of the folder: {entry.target}",
        )


def _put(tree: Tree, parts: tuple[str, ...], entry: Entry, strip: int, limits: _Limits) -> bool:
    if entry.kind == "folder":
        at, made = tree.folder(parts)
        os.close(at)
        return made
    if entry.kind == "link":
        return tree.link(parts, entry.target)
    if entry.kind == "same":
        other = tuple(_parts(entry.target, entry.name)[strip:])
        if not other:
            raise Refused("invalid_parameters", f"{entry.name}: is linked to what is stripped")
        return tree.same(parts, other)
    # The rights of other users (setuid, setgid) are no matter of an archive.
    mode = entry.mode & 0o777 or 0o644
    return tree.file(parts, _pieces(entry, limits), mode, max(entry.time, 0))


def _pieces(entry: Entry, limits: _Limits) -> Iterator[bytes]:
    zipped = isinstance(entry.source, zipfile.ZipExtFile)
    while entry.source is not None:
        data = entry.source.read(CHUNK)
        if not data:
            return
        if zipped:
            # What a zip says of its sizes need not be so.
            limits.bytes(len(data))
        yield data
