"""Files that are compressed: read and written in bounded memory."""

from __future__ import annotations

import bz2
import gzip
import lzma
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, cast

from toolmeta.programs import running
from toolmeta.programs.report import Refused

_SIGNS = (
    (b"\x1f\x8b", "tar.gz"),
    (b"\x28\xb5\x2f\xfd", "tar.zst"),
    (b"BZh", "tar.bz2"),
    (b"\xfd7zXZ\x00", "tar.xz"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
)
_ENDINGS = {
    ".tar": "tar",
    ".tar.gz": "tar.gz",
    ".tgz": "tar.gz",
    ".tar.zst": "tar.zst",
    ".tzst": "tar.zst",
    ".zip": "zip",
}


def kind_of_name(name: str) -> str:
    """The format of an archive that is to be made, by the end of its name."""
    for ending, kind in _ENDINGS.items():
        if name.endswith(ending):
            return kind
    raise Refused(
        "invalid_parameters",
        f"format: {name} does not say it; name one, or end the path with {', '.join(_ENDINGS)}",
    )


def kind_of_file(path: str) -> str:
    """The format of an archive that is there, by its first bytes."""
    with open(path, "rb") as file:
        begin = file.read(8)
    return next((kind for sign, kind in _SIGNS if begin.startswith(sign)), "tar")


@contextmanager
def reading(path: str, kind: str) -> Iterator[IO[bytes]]:
    """The content of a tar archive that may be compressed."""
    if kind == "tar.zst":
        zstd = running.required("zstd", "zstd")
        argv = [zstd, "--decompress", "--stdout", "--quiet", "--", path]
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
            try:
                yield cast("IO[bytes]", process.stdout)
            finally:
                process.kill()
        return
    openers = {"tar.gz": gzip.open, "tar.bz2": bz2.open, "tar.xz": lzma.open}
    opener = openers.get(kind, open)
    with opener(path, "rb") as file:  # type: ignore[operator]
        yield cast("IO[bytes]", file)


@contextmanager
def writing(path: str, kind: str) -> Iterator[IO[bytes]]:
    """A new tar archive that may be compressed; the same content makes the same bytes."""
    with open(path, "wb") as file:
        if kind == "tar.gz":
            with gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
                yield cast("IO[bytes]", packed)
        elif kind == "tar.zst":
            argv = [running.required("zstd", "zstd"), "--quiet", "--stdout", "-"]
            with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=file) as process:
                try:
                    yield cast("IO[bytes]", process.stdin)
                except BaseException:
                    process.kill()
                    raise
                cast("IO[bytes]", process.stdin).close()
                if process.wait() != 0:
                    raise Refused("exit_status", f"zstd ended with exit code {process.returncode}")
        else:
            yield file
