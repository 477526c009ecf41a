"""`curl` with files: what a folder holds afterwards, byte by byte, and what no plan may name."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from drivers.context import Failure, Outcome, Success
from drivers.resources import Resources
from tests.driver_kit import Run, command, failed, succeeded, until
from tests.integration.http_lab import Server, reply, with_server
from tests.integration.transfer_lab import BODY, bound, curl, folder, sha
from toolmeta.bind import bind
from toolmeta.invocation import Problem
from toolmeta.registry import load

__all__ = ["folder"]


@pytest.mark.tried("curl", inputs=("names",))
@pytest.mark.parametrize("name", [
    "image.iso", "ümlaut \u202e name", "u\u0308mlaut", "-leading", "." + "x" * 190,
    "$(touch x); `y` '{{z}}' %s",
])  # fmt: skip
def test_an_answer_becomes_a_file(folder: Path, name: str) -> None:
    target = folder / name
    outcome, _ = curl(folder, {"/it": reply(200, BODY)}, output_file=str(target))
    output = succeeded(outcome)
    assert target.read_bytes() == BODY
    assert output["file"] == {"path": str(target), "bytes": len(BODY), "sha256": sha(BODY)}
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert "body" not in output and "json" not in output
    assert [one.name for one in folder.iterdir()] == [name]


def test_the_folder_of_the_tenant_is_made(tmp_path: Path) -> None:
    target = tmp_path / "acme" / "new"
    outcome, _ = curl(tmp_path / "acme", {"/it": reply(200, b"")}, output_file=str(target))
    assert succeeded(outcome)["file"]["bytes"] == 0 and target.read_bytes() == b""
    assert stat.S_IMODE(target.parent.stat().st_mode) == 0o700
    deeper = tmp_path / "acme" / "absent" / "new"
    outcome, _ = curl(tmp_path / "acme", {"/it": reply(200, b"")}, output_file=str(deeper))
    failed(outcome, "not_found")


def test_an_old_file_is_replaced_only_where_that_is_said(folder: Path) -> None:
    target = folder / "x"
    target.write_bytes(b"old")
    outcome, server = curl(folder, {"/it": reply(200, BODY)}, output_file=str(target))
    assert "overwrite" in failed(outcome, "conflict")
    assert target.read_bytes() == b"old" and not server.requests
    given: dict[str, Any] = {
        "output_file": str(target), "overwrite": True, "file_mode": "0644",
    }  # fmt: skip
    before = target.stat().st_ino
    succeeded(curl(folder, {"/it": reply(200, BODY)}, **given)[0])
    assert target.read_bytes() == BODY and target.stat().st_ino != before
    assert stat.S_IMODE(target.stat().st_mode) == 0o644


@pytest.mark.parametrize(
    ("answer", "more", "error_class"),
    [
        (reply(404, b"none"), {}, "http_status"),
        (reply(404, b"none"), {"expect_status": 404}, "http_status"),
        (reply(200, BODY)[:-5], {}, "connection_lost"),
        (reply(200, BODY), {"max_file_bytes": len(BODY) - 1}, "limit_exceeded"),
        (reply(200, b"\x1f\x8b no gzip", Content_Encoding="gzip"), {}, "output_unparsable"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", {},
         "connection_lost"),
    ],
)  # fmt: skip
def test_a_failure_leaves_the_old_file(
    folder: Path, answer: bytes, more: dict[str, Any], error_class: str
) -> None:
    target = folder / "x"
    target.write_bytes(b"old")
    given = {"output_file": str(target), "overwrite": True, **more}
    failed(curl(folder, {"/it": answer}, **given)[0], error_class)
    assert target.read_bytes() == b"old" and list(folder.iterdir()) == [target]


def test_the_largest_allowed_answer_is_taken(folder: Path) -> None:
    given: dict[str, Any] = {"output_file": str(folder / "x"), "max_file_bytes": len(BODY)}
    succeeded(curl(folder, {"/it": reply(200, BODY)}, **given)[0])


def test_a_cancelled_download_leaves_the_old_file(folder: Path) -> None:
    target = folder / "x"
    target.write_bytes(b"old")

    async def body(server: Server, opened: Resources) -> None:
        async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(reply(200, BODY)[:1_000_000])
            await reader.read()
            writer.close()

        listener = await asyncio.start_server(slow, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        given = {"output_file": str(target), "overwrite": True, "url": f"http://127.0.0.1:{port}/"}
        run = Run(opened, bound(given), command(tenant="acme"))

        def half() -> bool:
            return any(one.stat().st_size > 500_000 for one in folder.glob(".x.*.part"))

        await run.cancelled(half)
        listener.close()
        percents = [percent for percent, _ in run.progress if percent is not None]
        assert percents == sorted(percents) and 15 < percents[-1] < 34
        assert str(run.progress[-1][1]).endswith(" of 3.0 MB")

    with_server({}, body, transfer_folders=str(folder.parent))
    assert target.read_bytes() == b"old" and list(folder.iterdir()) == [target]


def test_two_downloads_to_one_name_keep_one_whole_file(folder: Path) -> None:
    """Neither was there when the other began; who ends last finds that the name is taken."""
    target = folder / "x"

    async def body(server: Server, opened: Resources) -> list[Outcome]:
        url = f"http://127.0.0.1:{server.port}"
        calls = [bound({"url": f"{url}/{n}", "output_file": str(target)}) for n in "ab"]
        runs = [
            Run(opened, one, command(tenant="acme", step=f"s{n}")) for n, one in enumerate(calls)
        ]
        return await asyncio.gather(*(run.outcome() for run in runs))

    bodies = {"/a": BODY, "/b": BODY[::-1]}
    replies = {path: reply(200, data) for path, data in bodies.items()}
    found = with_server(replies, body, transfer_folders=str(folder.parent))
    good = [one for one in found if isinstance(one, Success)]
    assert len(good) == 1 and target.read_bytes() in bodies.values()
    assert good[0].output["file"]["sha256"] == sha(target.read_bytes())
    assert list(folder.iterdir()) == [target]


def hard(path: Path) -> None:
    path.write_text("x")
    path.chmod(0o666)


#: What may not be named, and how it comes to be there.
REFUSED = {
    "/etc/passwd": None,
    "{folder}/../other/x": None,
    "{top}/other/x": lambda top: (top / "other" / "x").write_text("secret of another tenant"),
    "{top}/acmeother/x": None,
    "{top}/x": lambda top: (top / "x").write_text("x"),
    "{top}/acme": None,
    "{folder}/link": lambda top: (top / "acme" / "link").symlink_to("/etc/passwd"),
    "{folder}/inner": lambda top: (top / "acme" / "inner").symlink_to(top / "acme" / "real"),
    "{folder}/way/x": lambda top: (top / "acme" / "way").symlink_to(top / "other"),
    "{folder}/sub": lambda top: (top / "acme" / "sub").mkdir(),
    "{folder}/pipe": lambda top: os.mkfifo(top / "acme" / "pipe"),
    "{folder}/open": lambda top: hard(top / "acme" / "open"),
    "/proc/self/environ": None,
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_no_plan_may_name(folder: Path, text: str) -> None:
    top = folder.parent
    (top / "other").mkdir()
    (folder / "real").write_text("x")
    make = REFUSED[text]
    if make is not None:
        make(top)
    path = text.format(folder=folder, top=top)
    before = sorted((str(one), one.lstat().st_mtime_ns) for one in top.rglob("*"))
    calls: tuple[dict[str, Any], ...] = (
        {"method": "PUT", "upload_file": path},
        {"method": "POST", "form_files": {"f": path}},
        {"output_file": path, "overwrite": True},
    )
    for given in calls:
        outcome, server = curl(folder, {"/it": reply(200, b"new")}, **given)
        assert isinstance(outcome, Failure), (given, outcome)
        assert outcome.error_class in ("capability_missing", "invalid_parameters"), outcome
        assert not server.requests
    assert sorted((str(one), one.lstat().st_mtime_ns) for one in top.rglob("*")) == before


def test_a_folder_that_others_can_write_is_refused(folder: Path) -> None:
    (folder / "x").write_text("x")
    for place in (folder, folder.parent):
        mode = place.stat().st_mode
        place.chmod(0o777)
        for given in ({"method": "PUT", "upload_file": str(folder / "x")},
                      {"output_file": str(folder / "y")}):  # fmt: skip
            message = failed(curl(folder, {"/it": reply(200)}, **given)[0], "capability_missing")
            assert "can be written by the programs of steps" in message
        place.chmod(mode)


def test_without_the_setting_no_file_is_touched(folder: Path) -> None:
    async def body(server: Server, opened: Resources) -> Outcome:
        url = f"http://127.0.0.1:{server.port}/it"
        return await Run(opened, bound({"url": url, "output_file": str(folder / "x")})).outcome()

    message = failed(with_server({"/it": reply(200)}, body), "capability_missing")
    assert "RUNSTREAM_TRANSFER_FOLDERS" in message and "none" in message


@pytest.mark.tried("curl", inputs=("unreadable",))
def test_a_missing_file_and_one_that_is_too_large(folder: Path) -> None:
    gone = {"method": "PUT", "upload_file": str(folder / "gone")}
    failed(curl(folder, {}, **gone)[0], "not_found")
    with (folder / "huge").open("wb") as file:
        file.truncate(1024**3 + 1)
    huge = {"method": "PUT", "upload_file": str(folder / "huge")}
    assert "1073741825 bytes" in failed(curl(folder, {}, **huge)[0], "invalid_parameters")


@pytest.mark.parametrize("parameters", [
    {"upload_file": "/srv/x"},
    {"method": "GET", "form_files": {"f": "/srv/x"}},
    {"method": "PUT", "upload_file": "/srv/x", "body": "x"},
    {"method": "PUT", "upload_file": "/srv/x", "form_files": {"f": "/srv/y"}},
    {"method": "HEAD", "output_file": "/srv/x"},
    {"output_file": "relative"}, {"output_file": "/srv/two\nlines"},
    {"overwrite": True},
    {"output_file": "/srv/x", "file_mode": "0777"},
    {"output_file": "/srv/x", "max_file_bytes": 2**31},
])  # fmt: skip
def test_what_is_refused_before(parameters: dict[str, Any]) -> None:
    tool = load().get("curl")
    assert tool is not None
    problems = bind(tool, {"url": "http://a.example/", **parameters})
    assert isinstance(problems, list) and isinstance(problems[0], Problem), problems


def test_a_fifo_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "pipe")

    async def body(server: Server, opened: Resources) -> Outcome:
        given = {"url": "http://127.0.0.1/", "method": "PUT", "upload_file": str(folder / "pipe")}
        done = asyncio.ensure_future(Run(opened, bound(given), command(tenant="acme")).outcome())
        await until(done.done, 20)
        return done.result()

    outcome = with_server({}, body, transfer_folders=str(folder.parent))
    failed(outcome, "invalid_parameters")
