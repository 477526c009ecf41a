"""Files of keys: one private key per file, all trusted public keys in one JSON Web Key Set."""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from authority.keys import (
    MEMBER,
    KeyFault,
    KeyUse,
    PrivateKey,
    TrustedKey,
    private_key,
    trusted_keys,
)

#: A set of ten thousand keys is smaller.
MAX_FILE_BYTES: Final = 4 * 1024 * 1024
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_WRITABLE: Final = stat.S_IWGRP | stat.S_IWOTH


def read_private(path: Path) -> PrivateKey:
    """The private key in a file that nobody else can read; raises KeyFault."""
    try:
        return private_key(_document(path, _OTHERS, f"chmod 600 {path}"))
    except KeyFault as fault:
        raise KeyFault(f"the private key {path} cannot be used: {fault}") from None


def read_trusted(path: Path) -> dict[str, TrustedKey]:
    """The trusted keys in a file that nobody else can write, by their ids; raises KeyFault."""
    try:
        return trusted_keys(_document(path, _WRITABLE, f"chmod go-w {path}"))
    except KeyFault as fault:
        raise KeyFault(f"the trusted keys {path} cannot be used: {fault}") from None


def read_public(path: Path, use: KeyUse) -> TrustedKey:
    """The public part of the key in a file, for this use; raises KeyFault."""
    try:
        members = _document(path, 0, "")
        public = {name: members[name] for name in ("kty", "crv", "x", "kid") if name in members}
        told = use.model_dump(mode="json", exclude_none=True)
        (key,) = trusted_keys({"keys": [{**public, MEMBER: told}]}).values()
        return key
    except KeyFault as fault:
        raise KeyFault(f"{path} is no key: {fault}") from None


def write_private(path: Path, key: PrivateKey) -> None:
    """Write a new file with mode 600; raises KeyFault where there is one already."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise KeyFault(f"{path} exists already; it is not overwritten") from None
    with os.fdopen(descriptor, "w") as file:
        json.dump(key.as_jwk(), file, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())


def write_trusted(path: Path, keys: dict[str, TrustedKey]) -> None:
    """Replace the file of trusted keys in one step, readable by all."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    with os.fdopen(descriptor, "w") as file:
        json.dump({"keys": [key.as_jwk() for key in keys.values()]}, file, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


@contextmanager
def changing_trusted(path: Path) -> Iterator[dict[str, TrustedKey]]:
    """The trusted keys, to be changed; written back at the end, one writer at a time."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(path.with_name(f"{path.name}.lock"), os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        keys = read_trusted(path) if path.exists() else {}
        before = dict(keys)
        yield keys
        if keys != before or not path.exists():
            write_trusted(path, keys)
    finally:
        os.close(lock)


def _document(path: Path, forbidden: int, remedy: str) -> Any:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise KeyFault("it is no file")
            if status.st_mode & forbidden:
                what = "read" if forbidden & stat.S_IRGRP else "change"
                raise KeyFault(f"others can {what} it: {remedy}")
            if forbidden and status.st_uid not in (0, os.geteuid()):
                raise KeyFault("it belongs to another user")
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise KeyFault(f"{error.strerror}; make keys with: runstream keys init") from None
    if len(raw) > MAX_FILE_BYTES:
        raise KeyFault(f"it is larger than {MAX_FILE_BYTES} bytes")
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        raise KeyFault("it is not JSON") from None
    if not isinstance(found, dict):
        raise KeyFault("it is no JSON object")
    return found
