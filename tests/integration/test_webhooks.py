"""docs/webhooks.md on a real stack: signed deliveries start executions, once; all others nothing.

The commands of the page are run as they stand there, and Alertmanager is a real one.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import yaml

from api import guard
from devstack.ports import free_port
from streams.envelope import message_headers
from streams.hooks import HookDelivery
from streams.topics import HOOKS
from tests.api_kit import ApiServer
from tests.docs.blocks import Block, blocks
from tests.docs.live_stack import Stack
from tests.docs.test_snippets import commands
from tests.harness import PATIENCE_SECONDS, Harness
from tests.tools.running import listens, program, server

ROOT = Path(__file__).parents[2]
PAGE = [block for block in blocks() if block.page.name == "webhooks.md"]
PARALLEL = 200


class Lab:
    """A folder as the page makes it, with an API and a matcher that use it."""

    def __init__(self, folder: Path, harness: Harness) -> None:
        self.folder = folder
        self.harness = harness
        shutil.copytree(ROOT / "demo" / "procedures", folder / "procedures")
        (folder / "triggers").mkdir()
        for block in self._written("yaml"):
            document = yaml.safe_load(block.text)
            name = "hooks" if "hooks" in document else f"triggers/{document['name']}"
            (folder / f"{name}.yaml").write_text(block.text)
        (folder / ".venv").symlink_to(Path(sys.prefix))
        state = harness.stack.keys.trusted.parents[1]
        environment = {**os.environ, "RUNSTREAM_STATE_DIR": str(state), "PYTHONPATH": str(ROOT)}
        environment["PATH"] = f"{folder / '.venv' / 'bin'}:{environment['PATH']}"
        self.shell = Stack(folder, environment, "", "", "", "")
        self.api: ApiServer | None = None

    def _written(self, info: str) -> list[Block]:
        return [block for block in PAGE if block.info == info]

    def run(self) -> None:
        """Every command of the page, in its order."""
        for block in self._written("console"):
            for line in commands(block):
                if line.endswith("runstream api"):
                    self._start()
                elif line.startswith("API="):
                    assert self.api is not None
                    self.shell.environment["API"] = self.api.url
                else:
                    self.line(line, block.where)

    def line(self, line: str, where: str = "") -> str:
        ended = self.shell.run(line)
        assert ended.returncode == 0, f"{where}: {line}\n{ended.stdout}{ended.stderr}"
        return ended.stdout

    def _start(self) -> None:
        hooks = yaml.safe_load((self.folder / "hooks.yaml").read_text())
        # No trigger takes what these bring.
        hooks["hooks"] += [
            {"name": name, "kind": "github", "secret": "file/github", **more}
            for name, more in (("load", {}), ("few", {"limit": {"deliveries": 1}}))
        ]
        (self.folder / "hooks.yaml").write_text(yaml.safe_dump(hooks))
        stack = self.harness.stack
        self.api = ApiServer(
            self.folder,
            stack.keys,
            bootstrap_servers=stack.bootstrap_servers,
            database_url=stack.database_url,
            environment={"RUNSTREAM_HOOKS": "hooks.yaml", "RUNSTREAM_SECRETS_DIR": "secrets"},
        )
        self.api.__enter__()
        self.api.wait_ready()

    def secret(self, name: str) -> bytes:
        return (self.folder / "secrets" / name).read_bytes().strip()

    def signed(self, body: bytes, delivery: str) -> dict[str, str]:
        made = hmac.new(self.secret("github"), body, hashlib.sha256).hexdigest()
        return {
            "Content-Type": "application/json",
            "X-Hub-Signature-256": f"sha256={made}",
            "X-GitHub-Delivery": delivery,
            "X-GitHub-Event": "push",
        }

    def post(self, name: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
        assert self.api is not None
        return httpx.post(f"{self.api.url}/v1/hooks/{name}", content=body, headers=headers)

    def started(self, name: str) -> dict[str, Any]:
        """The one execution that this trigger has started, once it has ended."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            found = [
                log
                for log in self.harness.log.events.values()
                if (log[0]["data"].get("started_by") or {}).get("name") == name
            ]
            if found and self.harness.log.ends(found[0][0]["execution_id"]):
                (only,) = found
                assert only[-1]["type"] == "execution.completed", only[-1]
                accepted: dict[str, Any] = only[0]["data"]
                return accepted
            assert time.monotonic() < deadline, name
            self.harness.read(0.1)

    def counts(self, trigger: str, what: str, wanted: int) -> dict[str, int]:
        """What the trigger has counted, once it has counted so many of this."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            told = json.loads(self.line(f"runstream triggers show {trigger} --json"))["counts"]
            if told.get(what, 0) >= wanted:
                return {name: int(number) for name, number in told.items()}
            assert time.monotonic() < deadline, told

    def close(self) -> None:
        for name in ("push", "alert", "backup"):
            self.shell.run(f"runstream triggers remove {name} --yes")
        if self.api is not None:
            assert self.api.stop() == 0


@contextmanager
def matcher(lab: Lab) -> Iterator[None]:
    """Started by hand beside the stack, with the key that the stack has for it."""
    with (lab.folder / "matcher.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "console", "matcher"],
            cwd=lab.folder, env=lab.shell.environment, stderr=log, stdout=log,
        )  # fmt: skip
        try:
            yield
        finally:
            process.terminate()
            assert process.wait(60) == 0, (lab.folder / "matcher.log").read_text()


@contextmanager
def alertmanager(lab: Lab) -> Iterator[str]:
    """A real one, whose receiver is that of the page."""
    daemon = program("prometheus-alertmanager", "prometheus-alertmanager")
    assert lab.api is not None
    (page,) = [yaml.safe_load(block.text) for block in PAGE if "webhook_configs" in block.text]
    (receiver,) = page["receivers"][0]["webhook_configs"]
    path = httpx.URL(receiver["url"]).path
    receiver["url"] = f"{lab.api.url}{path}"
    secret = str(lab.folder / "secrets" / "alertmanager")
    receiver["http_config"]["authorization"]["credentials_file"] = secret
    route = {"receiver": "runstream", "group_wait": "0s"}
    config = lab.folder / "alertmanager.yml"
    config.write_text(yaml.safe_dump({"route": route, **page}))
    port = free_port()
    argv = [
        daemon,
        *(f"--config.file={config}", f"--storage.path={lab.folder / 'alertmanager'}"),
        *(f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="),
    ]
    with server(argv, lambda: listens(port), lab.folder / "alertmanager.log"):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def lab(harness: Harness, tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path, harness)
    try:
        yield made
    finally:
        made.close()


class Deliveries:
    """What is written to the topic from now on."""

    def __init__(self, harness: Harness) -> None:
        self._consumer = harness._reader(HOOKS, from_end=True)
        self.raw: list[bytes] = []

    def until(self, last: str) -> list[HookDelivery]:
        """All up to the one of this id, and what is there beside it."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not any(orjson.loads(one)["delivery"] == last for one in self.raw):
            assert time.monotonic() < deadline, len(self.raw)
            self.read()
        self.read()
        return [HookDelivery.model_validate_json(one) for one in self.raw]

    def read(self) -> None:
        for message in self._consumer.consume(1_000, 1.0):
            assert message.error() is None
            value, headers = message.value(), message_headers(message)
            assert value is not None
            said = value + b"".join(name.encode() + (text or b"") for name, text in headers)
            assert b"sha256=" not in said and b"Bearer" not in said
            self.raw.append(value)

    def close(self) -> None:
        self._consumer.close()


@pytest.fixture
def deliveries(harness: Harness) -> Iterator[Deliveries]:
    found = Deliveries(harness)
    yield found
    found.close()


async def many(url: str, requests: list[tuple[bytes, dict[str, str]]]) -> list[int]:
    limits = httpx.Limits(max_connections=PARALLEL)
    async with httpx.AsyncClient(limits=limits, timeout=60) as client:
        sent = [client.post(url, content=body, headers=headers) for body, headers in requests]
        return [one.status_code for one in await asyncio.gather(*sent)]


@pytest.mark.timeout(400)
def test_what_is_signed_starts_a_procedure_once_and_nothing_else_is_written(
    lab: Lab, deliveries: Deliveries
) -> None:
    lab.run()
    assert lab.api is not None
    with matcher(lab), alertmanager(lab) as alerts:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        labels = {"alertname": "DiskNearlyFull", "mountpoint": "/"}
        fired = [{"labels": labels, "startsAt": now}]
        assert httpx.post(f"{alerts}/api/v2/alerts", json=fired).status_code == 200
        accepted = {name: lab.started(name) for name in ("push", "backup", "alert")}
        # With the rights of whoever applied the triggers, and what the records said.
        operator = lab.harness.stack.keys
        assert {one["actor"] for one in accepted.values()} == {operator_of(operator)}
        for one in accepted.values():
            assert one["procedure"]["name"] == "disk-check"
            assert one["plan"]["steps"][0]["parameters"] == {"path": "/"}
            assert one["started_by"]["cause"].startswith("hooks.received/")
        assert lab.counts("push", "repeated", 1) == {"started": 1, "repeated": 1}
    # Forged, unknown, too large, over the limit: each has its answer, and is not on the topic.
    body, forged = b'{"forged": true}', "forged"
    good = lab.signed(body, forged)
    wrong = {**good, "X-Hub-Signature-256": "sha256=" + "0" * 64}
    assert [lab.post("load", body, one).status_code for one in (wrong, {})] == [401, 401]
    assert lab.post("no-such", body, good).json() == {
        **lab.post("load", body, wrong).json(), "instance": "/v1/hooks/no-such",
    }  # fmt: skip
    large = b'"' + b"x" * guard.MAX_HOOK_BYTES + b'"'
    assert lab.post("load", large, lab.signed(large, forged)).status_code == 413
    assert lab.post("few", body, lab.signed(body, "one")).status_code == 202
    assert lab.post("few", body, lab.signed(body, forged)).status_code == 429
    # As many at once as come; each is there once it was answered.
    largest = b'"' + b"x" * (guard.MAX_HOOK_BYTES - 2) + b'"'
    ids = [f"load-{number}" for number in range(PARALLEL)]
    sent = [
        (one, lab.signed(one, ident)) for ident in ids for one in [b'{"id": "%s"}' % ident.encode()]
    ]
    began = time.monotonic()
    statuses = asyncio.run(many(f"{lab.api.url}/v1/hooks/load", sent))
    took = time.monotonic() - began
    assert statuses == [202] * PARALLEL, f"{took:.1f} s"
    last = uuid.uuid4().hex
    assert lab.post("load", largest, lab.signed(largest, last)).status_code == 202
    found = deliveries.until(last)
    by_hook = {name: [one for one in found if one.hook == name] for name in
               ("github", "alerts", "backup", "few", "load")}  # fmt: skip
    assert [one.delivery for one in by_hook["github"]] == ["by-hand-1"] * 2
    assert [len(by_hook[name]) for name in ("alerts", "backup", "few")] == [1, 1, 1]
    assert sorted(one.delivery for one in by_hook["load"]) == sorted([*ids, last])
    assert len(found) == PARALLEL + 1 + 5
    assert "forged" not in {one.delivery for one in found}
    # In no log of a process is a secret.
    logs = lab.api.log.read_bytes() + (lab.folder / "matcher.log").read_bytes()
    assert not any(lab.secret(name) in logs for name in ("github", "alertmanager", "backup"))


def operator_of(keys: Any) -> str:
    """Whose the operator's key of the stack is."""
    from authority.key_files import read_private
    from authority.key_folder import OPERATOR

    found = read_private(keys.private(OPERATOR)).use.actor
    assert found is not None
    return found
