"""az at Azurite, Microsoft's own emulator of its storage, which npm has.

What a tool did is looked up over HTTP, and what a test finds there was put there so.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import urllib.request
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest

from devstack.ports import free_port
from tests.tools import fetched
from tests.tools.built import built
from tests.tools.conftest import Execute, Result
from tests.tools.running import listens, server

pytestmark = pytest.mark.timeout(600)

_ACCOUNT = "shopbackups"
_KEY = base64.b64encode(b"a-key-of-the-tests").decode()
_VERSION = "2021-12-02"


@pytest.fixture(scope="module")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of an emulator with one account; it keeps its blobs in memory."""
    built("az")
    programs = fetched.npm("azurite", "3.35.0")
    folder = tmp_path_factory.mktemp("azurite")
    port = free_port()
    argv = [
        str(programs / "azurite-blob"),
        *("--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"),
        *("--blobHost", "127.0.0.1", "--blobPort", str(port)),
    ]
    account = {"AZURITE_ACCOUNTS": f"{_ACCOUNT}:{_KEY}"}
    with server(argv, lambda: listens(port), folder / "log", account):
        yield port


def told(port: int, key: str = _KEY) -> str:
    """Everything that az has to know, in the form of Azure's portal."""
    return (
        f"DefaultEndpointsProtocol=http;AccountName={_ACCOUNT};AccountKey={key};"
        f"BlobEndpoint=http://127.0.0.1:{port}/{_ACCOUNT};"
    )


def asked(port: int, path: str) -> bytes:
    """What the store answers to a GET that is signed as the REST interface wants it."""
    parts = urlsplit(path)
    stamps = f"x-ms-date:{formatdate(usegmt=True)}\nx-ms-version:{_VERSION}\n"
    resource = f"/{_ACCOUNT}/{_ACCOUNT}{parts.path}"
    resource += "".join(f"\n{name}:{value}" for name, value in sorted(parse_qsl(parts.query)))
    text = "GET" + "\n" * 12 + stamps + resource
    mark = hmac.new(base64.b64decode(_KEY), text.encode(), hashlib.sha256).digest()
    headers = dict(line.split(":", 1) for line in stamps.splitlines())
    headers["Authorization"] = f"SharedKey {_ACCOUNT}:{base64.b64encode(mark).decode()}"
    request = urllib.request.Request(f"http://127.0.0.1:{port}/{_ACCOUNT}{path}", headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return bytes(answer.read())


def names(port: int, path: str) -> list[str]:
    return re.findall(r"<Name>([^<]*)</Name>", asked(port, path).decode())


def succeeded(result: Result) -> dict[str, Any]:
    assert result.status == "succeeded", result
    return result.output


def test_az_storage(execute: Execute, azurite: int, tmp_path: Path) -> None:
    def run(action: str, **parameters: Any) -> dict[str, Any]:
        at = {"connection_string": told(azurite), "action": action, "container": "backups"}
        return succeeded(execute("az_storage", {**at, **parameters}))

    file, back, blob = tmp_path / "a b;$(id).txt", tmp_path / "back", "2026/größe; 1.tar"
    file.write_bytes(b"12345\0\xff")
    assert run("create-container")["result"]["created"] is True
    assert names(azurite, "/?comp=list") == ["backups"]
    assert [item["name"] for item in run("list-containers", container=None)["items"]] == ["backups"]
    run("upload", blob=blob, file=str(file))
    assert asked(azurite, f"/backups/{quote(blob)}") == file.read_bytes()
    file.write_bytes(b"another")
    run("upload", blob=blob, file=str(file), overwrite=True)
    run("upload", blob="2025/x", file=str(file))
    assert names(azurite, "/backups?restype=container&comp=list") == ["2025/x", blob]
    listed = run("list", prefix="2026/")
    assert [(item["name"], item["size_bytes"]) for item in listed["items"]] == [(blob, 7)]
    assert (listed["count"], listed["total_bytes"]) == (1, 7)
    assert run("list")["total_bytes"] == 14
    run("download", blob=blob, file=str(back))
    assert back.read_bytes() == b"another"
    shown = run("show", blob=blob)["result"]["properties"]
    md5 = base64.b64encode(hashlib.md5(b"another", usedforsecurity=False).digest()).decode()
    assert (shown["contentLength"], shown["contentSettings"]["contentMd5"]) == (7, md5)
    run("delete", blob=blob, allow_destructive=True)
    assert names(azurite, "/backups?restype=container&comp=list") == ["2025/x"]
    assert run("exists", blob=blob)["result"] == {"exists": False}
    run("delete-container", allow_destructive=True)
    assert names(azurite, "/?comp=list") == []


def test_az_storage_says_what_is_wrong(execute: Execute, azurite: int, tmp_path: Path) -> None:
    file = tmp_path / "BlobNotFound"
    file.write_bytes(b"1")
    here = {"connection_string": told(azurite), "container": "faults"}

    def fault(**parameters: Any) -> Result:
        result = execute("az_storage", {**here, **parameters})
        assert result.status == "failed", result
        assert _KEY not in str(result.events)
        return result

    succeeded(execute("az_storage", {**here, "action": "create-container"}))
    upload = {"action": "upload", "blob": "one", "file": str(file)}
    succeeded(execute("az_storage", {**here, **upload}))
    again = fault(**upload)
    assert (again.error_class, "BlobAlreadyExists" in str(again.error)) == ("conflict", True)
    gone = fault(action="show", blob="gone")
    assert (gone.error_class, "BlobNotFound" in gone.error["message"]) == ("not_found", True)
    assert fault(container="nobodys").error_class == "not_found"
    assert fault(**{**upload, "file": str(tmp_path / "gone")}).error_class == "not_found"
    # Azure calls a wrong key AuthenticationFailed, Azurite AuthorizationFailure.
    wrong = base64.b64encode(b"another key of the tests").decode()
    refused = fault(connection_string=told(azurite, wrong))
    assert refused.error_class == "capability_missing", refused
    assert wrong not in str(refused.events)
    nonsense = fault(connection_string="Nonsense-canary-text")
    assert nonsense.error_class == "invalid_parameters", nonsense
    assert "Nonsense-canary-text" not in str(nonsense.events)


def test_az(execute: Execute, azurite: int, tmp_path: Path) -> None:
    folder = {"config_dir": str(tmp_path)}
    nobody = execute("az", {**folder, "groups": ["network", "vnet"]})
    assert nobody.error_class == "not_configured", nobody
    assert "az login" in nobody.error["message"]
    assert succeeded(execute("az", {**folder, "groups": ["account"]}))["items"] == []
    (tmp_path / "config").write_text(f"[storage]\nconnection_string = {told(azurite)}\n")
    group = {**folder, "groups": ["storage", "container"]}
    made = {**group, "verb": "create", "arguments": ["--name", "generic"]}
    assert succeeded(execute("az", made))["data"] == {"created": True}
    assert "generic" in names(azurite, "/?comp=list")
    listed = succeeded(execute("az", {**group, "arguments": ["--prefix=gen"]}))
    assert [item["name"] for item in listed["items"]] == ["generic"]
    gone = {**group, "verb": "show", "arguments": ["--name=nobodys"]}
    assert execute("az", gone).error_class == "not_found"
    removed = {**group, "verb": "delete", "arguments": ["--name=generic"]}
    succeeded(execute("az", {**removed, "allow_destructive": True}))
    assert "generic" not in names(azurite, "/?comp=list")
