"""The tools `archive` and `unarchive`; archives are read and made by tar, zstd and zip too."""

from __future__ import annotations

import asyncio
import io
import os
import random
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drivers.resources import Resources
from tests.driver_kit import Run, settings
from tests.tools.driven import answer, failure, for_everybody
from tests.tools.odd.test_file_names import LINE_BREAK, NAMES
from tests.tools.running import program
from toolmeta.bind import bind
from toolmeta.invocation import Invocation
from toolmeta.registry import load


@pytest.fixture
def place() -> Iterator[Path]:
    with for_everybody() as folder:
        folder.chmod(0o777)
        yield folder


@pytest.fixture
def source(place: Path) -> Path:
    """A folder with files of odd names, a link, and nothing twice."""
    folder = place / "source"
    (folder / "below/empty").mkdir(parents=True)
    for number, name in enumerate([*NAMES, LINE_BREAK]):
        (folder / "below" / name).write_bytes(f"{number}\n".encode() * 1000)
    (folder / "run").write_text("#!/bin/sh\n")
    (folder / "run").chmod(0o755)
    (folder / "link").symlink_to("below/-n")
    return folder


def content(folder: Path) -> dict[str, tuple[str, bytes, int]]:
    """What a folder holds."""
    found: dict[str, tuple[str, bytes, int]] = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = ("link", bytes(path.readlink()), 0)
        elif path.is_dir():
            found[name] = ("folder", b"", 0)
        else:
            found[name] = ("file", path.read_bytes(), path.stat().st_mode & 0o777)
    return found


def root(tool: str, **parameters: Any) -> dict[str, Any]:
    return answer(tool, parameters, as_root=True)


@pytest.mark.parametrize("ending", ["tar", "tar.gz", "tar.zst", "zip"])
@pytest.mark.tried("archive", "unarchive", inputs=("names",))
def test_there_and_back_and_nothing_twice(source: Path, place: Path, ending: str) -> None:
    if ending == "tar.zst":
        program("zstd", "zstd")
    packed = place / f"made.{ending}"
    asked = {"sources": str(source), "path": str(packed)}
    made = root("archive", **asked)
    assert (made["changed"], made["size_bytes"]) == (True, packed.stat().st_size)
    assert (
        made["sha256"]
        in subprocess.run(["sha256sum", packed], capture_output=True, text=True, check=True).stdout
    )
    assert packed.stat().st_mode & 0o777 == 0o600
    again = root("archive", **asked)
    assert (again["changed"], again["sha256"]) == (False, made["sha256"])

    into = place / "into it"
    given = {"path": str(packed), "destination": str(into), "strip_components": 1}
    done = root("unarchive", **given)
    assert (done["changed"], done["written"]) == (True, len(content(source)))
    assert content(into) == content(source)
    repeated = root("unarchive", **given)
    assert (repeated["changed"], repeated["written"]) == (False, 0)
    (into / "run").write_text("another\n")
    (into / "below/-n").unlink()
    mended = root("unarchive", **given)
    assert sorted(mended["written_paths"]) == ["below/-n", "run"]
    assert content(into) == content(source)

    (source / "run").write_text("changed\n")
    assert root("archive", **asked)["changed"] is True
    assert not [path for path in place.rglob(".runstream-*")]


def test_others_read_and_make_them(source: Path, place: Path) -> None:
    """By GNU tar and unzip; with a base and without what is excluded."""
    packed = place / "made.tar.gz"
    root(
        "archive",
        sources=[str(source)],
        base=str(place),
        exclude=["*:*", "source/run"],
        path=str(packed),
    )
    listed = subprocess.run(["tar", "-tzf", packed], capture_output=True, text=True, check=True)
    assert "source/below/" in listed.stdout and "run" not in listed.stdout
    for flags, ending in (("-cjf", "tar.bz2"), ("-cJf", "tar.xz"), ("-czf", "tgz"), ("-cf", "x")):
        theirs = place / f"theirs.{ending}"
        subprocess.run(["tar", flags, theirs, "-C", source, "."], check=True)
        done = root("unarchive", path=str(theirs), destination=str(place / ending))
        assert done["changed"] is True
        assert content(place / ending) == content(source)


def test_hard_links_sparse_files_and_an_empty_archive(place: Path) -> None:
    folder = place / "s"
    folder.mkdir()
    (folder / "a").write_text("same\n")
    os.link(folder / "a", folder / "b")
    with (folder / "sparse").open("wb") as file:
        file.truncate(50_000_000)
    subprocess.run(["tar", "-cSf", place / "t", "-C", folder, "."], check=True)
    given = {"path": str(place / "t"), "destination": str(place / "out")}
    assert root("unarchive", **given)["changed"] is True
    assert (place / "out/a").stat().st_ino == (place / "out/b").stat().st_ino
    assert (place / "out/sparse").stat().st_size == 50_000_000
    assert root("unarchive", **given)["changed"] is False
    root("archive", sources=str(folder), path=str(place / "again.tar"))
    back = root("unarchive", path=str(place / "again.tar"), destination=str(place / "b"))
    assert back["entries"] == 4
    assert (place / "b/s/b").read_text() == "same\n"


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", data: bytes = b"") -> Any:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(data)
    return info, io.BytesIO(data)


HOSTILE: dict[str, list[Any]] = {
    "dots": [member("a/../../escaped", data=b"x")],
    "absolute": [member("/tmp/rs-escaped", data=b"x")],
    "link out": [member("a", tarfile.SYMTYPE, "../..")],
    "absolute link": [member("a", tarfile.SYMTYPE, "/etc")],
    "link by a link": [member("s", tarfile.SYMTYPE, "."), member("a", tarfile.SYMTYPE, "s/../..")],
    "hard link out": [member("a", tarfile.LNKTYPE, "../canary")],
    "hard link to a file of the system": [member("a", tarfile.LNKTYPE, "/etc/passwd")],
    "device": [member("a", tarfile.CHRTYPE)],
    "pipe": [member("a", tarfile.FIFOTYPE)],
}


@pytest.mark.parametrize("kind", sorted(HOSTILE))
def test_what_leads_out_of_the_folder_is_refused_before_anything_is_written(
    place: Path, kind: str
) -> None:
    (place / "canary").write_text("kept\n")
    with tarfile.open(place / "t", "w") as packed:
        packed.addfile(*member("good", data=b"good"))
        for info, data in HOSTILE[kind]:
            packed.addfile(info, data)
    given = {"path": str(place / "t"), "destination": str(place / "out/deep")}
    refused = failure("unarchive", given, as_root=True)
    assert refused.error_class == "invalid_parameters", refused
    assert not (place / "out").exists()


def test_what_is_there_as_a_link_leads_nowhere(place: Path) -> None:
    """Neither a link that the archive brings nor one that was there is followed."""
    (place / "elsewhere").mkdir()
    with tarfile.open(place / "t", "w") as packed:
        packed.addfile(*member("d", tarfile.SYMTYPE, "e"))
        packed.addfile(*member("d/x", data=b"x"))
    out = place / "out"
    out.mkdir()
    (out / "e").symlink_to(place / "elsewhere")
    given = {"path": str(place / "t"), "destination": str(out)}
    assert failure("unarchive", given, as_root=True).error_class == "conflict"
    assert not list((place / "elsewhere").iterdir())
    # A file in the place of a link is written beside it, not through it.
    (place / "elsewhere/x").write_text("kept\n")
    with tarfile.open(place / "t", "w") as packed:
        packed.addfile(*member("y", data=b"new"))
    (out / "y").symlink_to(place / "elsewhere/x")
    assert root("unarchive", **given)["changed"] is True
    assert (place / "elsewhere/x").read_text() == "kept\n"
    assert (out / "y").read_text() == "new" and not (out / "y").is_symlink()


def test_bombs(place: Path) -> None:
    """Sizes and counts are bounded, whatever the archive says of them."""
    with zipfile.ZipFile(place / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("zeros", bytes(30_000_000))
    with tarfile.open(place / "bomb.tar.gz", "w:gz") as made:
        made.addfile(*member("zeros", data=bytes(30_000_000)))
    data = bytearray((place / "bomb.zip").read_bytes())
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = (5).to_bytes(4, "little")
    (place / "lying.zip").write_bytes(data)
    with zipfile.ZipFile(place / "many.zip", "w") as packed:
        for number in range(2_000):
            packed.writestr(f"{number}", b"")
    out = {"destination": str(place / "out")}
    for name in ("bomb.zip", "bomb.tar.gz", "many.zip"):
        limits = {"max_bytes": 1_000_000, "max_entries": 1_000}
        refused = failure("unarchive", {"path": str(place / name), **out, **limits}, as_root=True)
        assert refused.error_class == "limit_exceeded", refused
        assert not (place / "out").exists()
    lying = {"path": str(place / "lying.zip"), **out, "max_bytes": 1_000_000}
    assert failure("unarchive", lying, as_root=True).error_class in (
        "limit_exceeded", "invalid_parameters",
    )  # fmt: skip
    assert not [path for path in (place / "out").rglob("*") if path.stat().st_size > 5]


@pytest.mark.parametrize("ending", ["tar", "tar.gz", "tar.zst", "zip"])
def test_a_part_of_an_archive_and_rubbish(source: Path, place: Path, ending: str) -> None:
    if ending == "tar.zst":
        program("zstd", "zstd")
    whole = place / f"whole.{ending}"
    (source / "noise").write_bytes(random.Random(1).randbytes(300_000))
    root("archive", sources=str(source), path=str(whole))
    data = whole.read_bytes()
    for broken in (data[: len(data) // 2], b"rubbish" * 1_000, b""):
        whole.write_bytes(broken)
        asked = {"path": str(whole), "destination": str(place / "out")}
        refused = failure("unarchive", asked, as_root=True)
        assert refused.error_class == "invalid_parameters", (len(broken), refused)
        assert not (place / "out").exists()


def test_creates_and_a_checksum(source: Path, place: Path) -> None:
    made = root("archive", sources=str(source), path=str(place / "t.tar"))
    given = {"path": str(place / "t.tar"), "destination": str(place / "out")}
    wrong = failure("unarchive", {**given, "sha256": "0" * 64}, as_root=True)
    assert wrong.error_class == "conflict" and not (place / "out").exists()
    done = root("unarchive", **given, sha256=made["sha256"], creates=str(place / "out/source"))
    assert (done["changed"], done["skipped"]) == (True, False)
    (place / "t.tar").unlink()
    skipped = root("unarchive", **given, creates=str(place / "out/source"))
    assert (skipped["changed"], skipped["skipped"]) == (False, True)


@pytest.mark.tried("archive", "unarchive", inputs=("unreadable",))
@pytest.mark.root_only
def test_what_may_not_be_read_or_is_not_there(source: Path, place: Path) -> None:
    root("archive", sources=str(source), path=str(place / "t.tar"))
    out = f"{place}/o"
    calls: list[tuple[str, dict[str, Any], str]] = [
        ("unarchive", {"path": f"{place}/t.tar", "destination": out}, "capability_missing"),
        ("unarchive", {"path": f"{place}/gone", "destination": out}, "not_found"),
        ("unarchive", {"path": f"{place}/source", "destination": out}, "invalid_parameters"),
        ("archive", {"sources": f"{place}/gone", "path": f"{place}/x.tar"}, "not_found"),
        ("archive", {"sources": f"{place}/t.tar", "path": f"{place}/x.tar"}, "capability_missing"),
        ("archive", {"sources": f"{place}/source", "path": f"{place}/no/x.tar"}, "not_found"),
        ("archive", {"sources": f"{place}/source", "path": f"{place}/x.rar"}, "invalid_parameters"),
        ("archive", {"sources": [f"{place}/source", f"{place}/a/source"], "path": f"{place}/x.tar"},
         "invalid_parameters"),
    ]  # fmt: skip
    for tool, asked, wanted in calls:
        refused = failure(tool, asked, step_user="nobody")
        assert refused.error_class == wanted, (asked, refused)
    assert sorted(path.name for path in place.iterdir()) == ["source", "t.tar"]


@pytest.mark.parametrize("tool", ["archive", "unarchive"])
def test_a_cancel_in_the_middle_leaves_what_was_there(place: Path, tool: str) -> None:
    """Neither half an archive nor half a file, nor anything that was written aside."""
    (place / "big").write_bytes(random.Random(1).randbytes(1_000_000) * 200)
    (place / "out").mkdir()
    (place / "out/big").write_text("old\n")
    subprocess.run(["tar", "-cf", place / "t.tar", "-C", place, "big"], check=True)
    (place / "old.zip").write_text("old\n")
    asked = {
        "archive": {"sources": str(place / "big"), "path": str(place / "old.zip")},
        "unarchive": {"path": str(place / "t.tar"), "destination": str(place / "out")},
    }[tool]
    definition = load().get(tool)
    assert definition is not None
    invocation = bind(definition, asked)
    assert isinstance(invocation, Invocation)

    async def cancelled() -> None:
        opened = Resources(settings(root_tools=(tool,)))
        try:
            await Run(opened, invocation).cancelled(lambda: any(place.rglob(".runstream-*")))
        finally:
            await opened.close()

    asyncio.run(cancelled())
    assert (place / "old.zip").read_text() == (place / "out/big").read_text() == "old\n"
    assert not list(place.rglob(".runstream-*"))
