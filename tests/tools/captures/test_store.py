"""Captures are kept, listed, fetched, limited and deleted."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from drivers.context import Success
from drivers.resources import Resources
from tests.driver_kit import Run, command, settings
from tests.tools.captures.kit import Listen, get
from tests.tools.conftest import Execute
from tests.tools.netns import Lab, need
from toolmeta import registry
from toolmeta.bind import bind
from toolmeta.invocation import Invocation

#: The first test also starts the whole stack.
pytestmark = pytest.mark.timeout(300)


def test_a_capture_is_kept_listed_fetched_and_deleted(
    execute: Execute, listen: Listen, lab: Lab
) -> None:
    path = f"/{uuid.uuid4().hex}"
    made = listen("tcpdump", lambda: get(lab, path), filter="tcp port 80", packets=500, seconds=3)
    assert made.status == "succeeded", made
    capture = made.output["capture"]
    ident = capture["id"]
    assert ident == f"{capture['execution_id']}.it.1"
    assert made.output["ended_by"] == "seconds"
    assert made.output["packets"] == capture["packets"] >= 10
    assert {talker["address"] for talker in made.output["top_talkers"]} == {lab.here, lab.server}

    listed = execute("tcpdump", {"action": "list"})
    assert ident in {item["id"] for item in listed.output["captures"]}

    data, offset = b"", 0
    while offset is not None:
        piece = execute(
            "tcpdump", {"action": "fetch", "capture": ident, "offset": offset, "length": 4096}
        )
        chunk = base64.b64decode(piece.output["data_base64"])
        assert hashlib.sha256(chunk).hexdigest() == piece.output["chunk_sha256"]
        data, offset = data + chunk, piece.output["next_offset"]
        if len(data) > 12_000:
            break
    whole = base64.b64decode(
        execute("tcpdump", {"action": "fetch", "capture": ident}).output["data_base64"]
    )
    assert whole.startswith(data)
    assert len(whole) == capture["bytes"]
    assert hashlib.sha256(whole).hexdigest() == capture["sha256"]
    assert f"GET {path} HTTP/1.1".encode() in whole

    deleted = execute("tcpdump", {"action": "delete", "capture": ident})
    assert deleted.output["deleted"] is True
    gone = execute("tcpdump", {"action": "fetch", "capture": ident})
    assert (gone.status, gone.error_class) == ("failed", "not_found")


def test_a_capture_ends_after_its_packets(listen: Listen, lab: Lab) -> None:
    begun = time.monotonic()
    result = listen("tcpdump", lambda: get(lab, "/a"), packets=5)
    assert time.monotonic() - begun < 45
    assert result.output["capture"]["packets"] == 5
    assert result.output["ended_by"] == "packets"


def test_what_a_capture_refuses(execute: Execute, lab: Lab) -> None:
    def error(**parameters: Any) -> str:
        return execute("tcpdump", {"seconds": 1, **parameters}).error_class

    assert error(interface="nosuch0") == "not_found"
    assert error(interface=lab.device, filter="port http and and") == "invalid_parameters"
    assert error(action="fetch", capture="nosuch.it.1") == "not_found"
    need("ngrep")
    need("tshark")
    listening = {"interface": lab.device, "seconds": 1}
    for tool, wrong in (
        ("ngrep", {"pattern": "(x"}),
        ("ngrep", {"pattern": "x", "filter": "port and and"}),
        ("tshark", {"display_filter": "no such thing"}),
        ("tshark", {"filter": "port and and"}),
    ):
        result = execute(tool, {**listening, **wrong})
        assert result.error_class == "invalid_parameters", result


def test_bytes_are_limited_and_a_cancel_leaves_nothing(lab: Lab, tmp_path: Path) -> None:
    asyncio.run(_limits(lab, tmp_path))


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def _limits(lab: Lab, tmp_path: Path) -> None:
    tool = registry.load().get("tcpdump")
    assert tool is not None
    parameters = {"interface": lab.device, "filter": "tcp port 80", "packets": 100_000}
    invocation = bind(tool, {**parameters, "seconds": 60})
    assert isinstance(invocation, Invocation)
    resources = Resources(
        settings(capture_dir=str(tmp_path), capture_max_bytes=8_192, root_tools="tcpdump")
    )
    try:
        with lab.traffic(lambda: get(lab, "/many")):
            outcome = await Run(resources, invocation).outcome(60)
            assert isinstance(outcome, Success)
            assert outcome.output["ended_by"] == "bytes"
            capture = outcome.output["capture"]
            assert capture["truncated"] is True
            assert 4_096 < capture["bytes"] <= 8_192
            stored = _names(tmp_path)
            run = Run(resources, invocation, command(step="two"))
            await run.cancelled(lambda: any(name.endswith(".part") for name in _names(tmp_path)))
        assert _names(tmp_path) == stored
    finally:
        await resources.close()
