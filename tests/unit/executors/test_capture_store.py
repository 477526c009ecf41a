"""The capture store on a real folder: names, hashes, limits, tenants, retention."""

from __future__ import annotations

import base64
import hashlib
import os
import struct
import time
from pathlib import Path

import pytest

from drivers.analysis.records import NotACapture
from drivers.captures.store import CaptureStore, NoSuchCapture, StoreFull
from tests.driver_kit import EXECUTION, command, settings

_HEAD = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 1)


def _record(size: int, second: int = 1_000) -> bytes:
    return struct.pack("<IIII", second, 500_000, size, size) + bytes(size)


def _store(folder: Path, **changed: object) -> CaptureStore:
    return CaptureStore(settings(capture_dir=str(folder), **changed))


def _write(store: CaptureStore, data: bytes, **changed: object) -> str:
    one = command(**changed)
    ident, file = store.begin(one)
    with file:
        file.write(data)
    return store.finish(ident, one, truncated=False).id


def test_named_hashed_and_private(tmp_path: Path) -> None:
    store = _store(tmp_path / "captures")
    data = _HEAD + _record(60) + _record(100, 1_002)
    ident = _write(store, data, step="a step/../x")
    assert ident == f"{EXECUTION}.a_step____x.1"
    stored, path = store.find(ident, "acme")
    assert stored.sha256 == hashlib.sha256(data).hexdigest() == _digest(path)
    assert (stored.packets, stored.bytes) == (2, len(data))
    assert stored.first_packet_at == "1970-01-01T00:16:40.500000+00:00"
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert {item.stat().st_mode & 0o777 for item in path.parent.iterdir()} == {0o600}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_record_that_is_cut_off_is_left_out(tmp_path: Path) -> None:
    store = _store(tmp_path)
    ident = _write(store, _HEAD + _record(60) + _record(60)[:30])
    stored, path = store.find(ident, "acme")
    assert stored.packets == 1
    assert path.read_bytes() == _HEAD + _record(60)


def test_what_is_no_capture_is_not_kept(tmp_path: Path) -> None:
    store = _store(tmp_path)
    with pytest.raises(NotACapture):
        _write(store, b"tcpdump: something went wrong")
    assert store.list("acme") == []


def test_another_tenant_has_no_such_capture(tmp_path: Path) -> None:
    store = _store(tmp_path)
    ident = _write(store, _HEAD)
    assert [item.id for item in store.list("acme")] == [ident]
    assert store.list("other") == []
    with pytest.raises(NoSuchCapture):
        store.find(ident, "other")
    with pytest.raises(NoSuchCapture):
        store.chunk(ident, "other", 0, 10)


@pytest.mark.parametrize("ident", ["../x", "a/b.c.1", "", ".", "x.y.1/../../etc/passwd", "a.b.c"])
def test_an_id_is_never_a_path(tmp_path: Path, ident: str) -> None:
    with pytest.raises(NoSuchCapture):
        _store(tmp_path).find(ident, "acme")


def test_chunks_make_the_whole(tmp_path: Path) -> None:
    store = _store(tmp_path)
    ident = _write(store, _HEAD + _record(1_000))
    data = b""
    offset: object = 0
    while isinstance(offset, int):
        piece = store.chunk(ident, "acme", offset, 300)
        data += base64.b64decode(str(piece["data_base64"]))
        offset = piece["next_offset"]
    assert data == _HEAD + _record(1_000)
    assert store.chunk(ident, "acme", 10**9, 300)["chunk_bytes"] == 0


def test_full_is_an_error_and_old_ones_go(tmp_path: Path) -> None:
    limits = {"capture_max_bytes": 4_096, "capture_total_bytes": 5_000}
    store = _store(tmp_path, **limits, capture_retention_hours=1)
    ident = _write(store, _HEAD + _record(2_000))
    with pytest.raises(StoreFull):
        store.begin(command(step="two"))
    old = time.time() - 3_700
    for path in tmp_path.iterdir():
        os.utime(path, (old, old))
    two, file = store.begin(command(step="two"))
    file.close()
    with pytest.raises(NoSuchCapture):
        store.find(ident, "acme")
    store.drop(two)
    assert list(tmp_path.iterdir()) == []


def test_captures_that_are_being_written_have_their_room(tmp_path: Path) -> None:
    """Each may become as large as one may be: together they must fit."""
    store = _store(tmp_path, capture_max_bytes=4_096, capture_total_bytes=3 * 4_096)
    opened = [store.begin(command(step=f"step-{number}"))[1] for number in range(3)]
    with pytest.raises(StoreFull, match="3 others are being written"):
        store.begin(command(step="one-more"))
    for file in opened:
        file.close()
    store.drop(f"{EXECUTION}.step-0.1")
    store.begin(command(step="one-more"))[1].close()
