"""Captures that people already have: every tool that reads captures reads a file below a folder."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest

from drivers.context import Failure, Outcome, Success
from drivers.resources import Resources
from tests.driver_kit import Run, settings
from tests.tools.captures.handmade import Talk, pcap, pcapng
from tests.tools.netns import need
from toolmeta import registry
from toolmeta.bind import bind
from toolmeta.invocation import Invocation

_TALK = (
    Talk("2001:db8::7", "2001:db8::80")
    .open()
    .say(b"GET /kept HTTP/1.1\r\nHost: a.example\r\n\r\n")
    .reply(b"HTTP/1.1 204 No Content\r\n\r\n")
    .close()
)
#: Of several interfaces, as Wireshark makes it; and one that was cut off while it was written.
_KINDS = {
    "pcap": pcap(_TALK.frames),
    "pcapng": pcapng(_TALK.frames),
    "cut": pcap([*_TALK.frames, _TALK.frames[-1]])[:-9],
}
_READERS = sorted(
    tool.name for tool in registry.load().all() if {"capture", "file"} <= set(tool.parameters)
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "captures"
    made.mkdir()
    for kind, content in _KINDS.items():
        (made / f"branch office.{kind}").write_bytes(content)
    return made


def _run(tool: str, parameters: dict[str, Any], folders: Path | str, **changed: Any) -> Outcome:
    definition = registry.load().get(tool)
    assert definition is not None
    invocation = bind(definition, parameters)
    assert isinstance(invocation, Invocation), invocation

    async def inside() -> Outcome:
        # The folders of tests are for root alone.
        given = {"capture_folders": str(folders), "root_tools": ",".join(_READERS), **changed}
        resources = Resources(settings(**given))
        try:
            return await Run(resources, invocation).outcome(60)
        finally:
            await resources.close()

    return asyncio.run(inside())


def test_every_reader_takes_a_file() -> None:
    assert len(_READERS) == 14


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize("tool", _READERS)
def test_a_file_of_the_operators_folder_is_read(
    tool: str, kind: str, folder: Path, tmp_path: Path
) -> None:
    if tool in ("scapy", "pyshark") and importlib.util.find_spec(tool) is None:
        pytest.skip(f"{tool} is not installed: pip install runstream[network]")
    for program in {"pyshark": ("tshark",), "tshark": ("tshark",), "ngrep": ("ngrep",),
                    "tcpflow": ("tcpflow",)}.get(tool, ()):  # fmt: skip
        need(program)
    path = folder / f"branch office.{kind}"
    more = {"ngrep": {"pattern": "/kept"}, "scapy": {"operation": "packets"}}.get(tool, {})
    found = _run(tool, {"file": str(path), **more}, folder, capture_dir=str(tmp_path / "store"))
    assert isinstance(found, Success), found
    output = found.output
    number = len(_TALK.frames)
    if tool == "ngrep":
        assert [match["source"] for match in output["matches"]] == ["2001:db8::7"]
        assert output["matches"][0]["payload"].startswith("GET /kept")
        return
    assert output["capture"] is None
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert output["file"] == {
        "path": str(path), "bytes": path.stat().st_size, "sha256": digest,
    }  # fmt: skip
    if tool == "tcpflow":
        ends = {(flow["source"], flow["source_port"]) for flow in output["flows"]}
        assert ends == {("2001:db8::7", 40_000), ("2001:db8::80", 80)}
    else:
        assert output["count" if tool == "tshark" else "packets"] == number
    if tool == "tshark":
        assert output.get("cut_short", False) is (kind == "cut")
    if tool == "http_analyzer":
        assert output["requests"][0]["path"] == "/kept"


def _class(found: Outcome) -> str:
    assert isinstance(found, Failure), found
    return found.error_class


def test_what_lies_elsewhere_is_not_read(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.pcap"
    elsewhere.write_bytes(pcap(_TALK.frames))
    (folder / "link").symlink_to(elsewhere)
    open_to_all = folder / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    (open_to_all / "a.pcap").write_bytes(pcap(_TALK.frames))
    own = folder / "branch office.pcap"
    for path, folders in (
        (elsewhere, folder), (folder / "link", folder), (f"{folder}/../elsewhere.pcap", folder),
        (own, ""), ("/proc/self/environ", folder), ("/dev/stdin", folder),
        (open_to_all / "a.pcap", folder),
    ):  # fmt: skip
        found = _run("dpkt", {"file": str(path)}, folders)
        assert _class(found) == "capability_missing", path
        assert isinstance(found, Failure) and "RUNSTREAM_CAPTURE_FOLDERS" in found.message


def test_what_is_no_capture_is_said(folder: Path) -> None:
    (folder / "text").write_text("not a capture, but long enough to look at")
    os.mkfifo(folder / "pipe")
    (folder / "inner").mkdir()
    assert _class(_run("dpkt", {"file": f"{folder}/absent"}, folder)) == "not_found"
    assert _class(_run("dpkt", {"file": f"{folder}/text"}, folder)) == "output_unparsable"
    assert _class(_run("dpkt", {"file": f"{folder}/inner"}, folder)) == "invalid_parameters"
    assert _class(_run("dpkt", {"file": f"{folder}/pipe"}, folder)) == "capability_missing"
    (folder / "large").write_bytes(bytes(5_000))
    found = _run("dpkt", {"file": f"{folder}/large"}, folder, capture_max_bytes=4_096)
    assert _class(found) == "invalid_parameters"


def test_a_file_and_a_capture_exclude_each_other() -> None:
    tool = registry.load().get("dpkt")
    assert tool is not None
    given = {"file": "/srv/a.pcap", "capture": "a.b.1"}
    assert not isinstance(bind(tool, given), Invocation)


def test_packets_beyond_the_limit_are_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"file": str(folder / "branch office.pcap")}
    for most, whole in ((len(_TALK.frames), True), (len(_TALK.frames) - 1, False)):
        monkeypatch.setattr("drivers.analysis.driver.MAX_PACKETS", most)
        found = _run("tcp_analyzer", given, folder)
        assert isinstance(found, Success), found
        assert (found.output["packets"], found.output["complete"]) == (most, whole)
