"""Secret references: what they may name, and that no value shows where it is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from drivers.secrets import SecretError, Secrets
from processors.executors.binding import binder
from tests.driver_kit import command
from toolmeta import registry
from toolmeta.invocation import Invocation

CANARY = "canary-\x01-7f3a"


def reference(path: str) -> dict[str, str]:
    return {"type": "secret", "path": path}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Secrets:
    monkeypatch.setenv("SECRET_TOKEN", CANARY)
    monkeypatch.setenv("SECRET_TINY", "abc")
    monkeypatch.setenv("PRIVATE", "not for steps")
    folder = tmp_path / "secrets"
    (folder / "acme").mkdir(parents=True)
    (folder / "other").mkdir()
    (folder / "shared").write_text("shared-value\n")
    (folder / "acme" / "own").write_text("acme-value\r\n")
    (folder / "acme" / "shared").write_text("acme-shared")
    (folder / "other" / "theirs").write_text("other-value")
    (folder / "large").write_bytes(b"x" * 70_000)
    (folder / "binary").write_bytes(b"\xff\xfe\xfd\xfc\xfb")
    (tmp_path / "outside").write_text("outside-value")
    (folder / "link").symlink_to(tmp_path / "outside")
    (folder / "..data").mkdir()
    (folder / "..data" / "mounted").write_text("mounted-value")
    (folder / "mounted").symlink_to("..data/mounted")
    return Secrets(str(folder))


@pytest.mark.parametrize(
    ("path", "tenant", "value"),
    [
        ("env/TOKEN", "acme", CANARY),
        ("env:TOKEN", "acme", CANARY),
        ("file/own", "acme", "acme-value"),
        ("file/shared", "acme", "acme-shared"),
        ("file:shared", "other", "shared-value"),
        ("file/mounted", "acme", "mounted-value"),
    ],
)
def test_found(store: Secrets, path: str, tenant: str, value: str) -> None:
    assert store.resolve(reference(path), tenant) == value


@pytest.mark.parametrize(
    "path",
    ["env/ABSENT", "env/../PRIVATE", "PRIVATE", "env/PRIVATE", "env/TINY", "file/theirs",
     "file/other/theirs", "file/../outside", "file//etc/passwd", "/etc/passwd", "file/link",
     "file/large", "file/binary", "file/acme", "file/..", "kv/app#token", "env/TOKEN\n"],
)  # fmt: skip
def test_refused(store: Secrets, path: str) -> None:
    with pytest.raises(SecretError) as caught:
        store.resolve(reference(path), "acme")
    assert "value" not in str(caught.value).replace("values", "")


def test_no_folder() -> None:
    with pytest.raises(SecretError, match="RUNSTREAM_SECRETS_DIR"):
        Secrets().resolve(reference("file/own"), "acme")


def bound(store: Secrets, tool: str, parameters: dict[str, Any], **changed: Any) -> Any:
    bind = binder(registry.load(), {"http", "winrm", "command"}, store)
    return bind(command(tool=tool, parameters=parameters, **changed))


def test_bound_with_its_value_and_marked(store: Secrets) -> None:
    headers = {"X-Token": reference("file/own"), "X-Plain": "p"}
    found = bound(store, "curl", {"url": "https://example.org/", "headers": headers})
    assert isinstance(found, Invocation)
    assert found.arguments["headers"] == {"X-Token": "acme-value", "X-Plain": "p"}
    assert found.secrets == ("acme-value",)


def test_only_where_the_tool_takes_a_secret(store: Secrets) -> None:
    problems = bound(store, "curl", {"url": reference("file/own")})
    assert [(one.field, "secret" in one.message) for one in problems] == [("parameters.url", True)]


def test_what_is_refused_does_not_show_the_value(store: Secrets) -> None:
    # A header may not hold a control character: the value is looked at, and not repeated.
    headers = {"X-Token": reference("env/TOKEN")}
    problems = bound(store, "curl", {"url": "https://example.org/", "headers": headers})
    assert problems
    assert CANARY not in repr(problems)
    missing = bound(store, "curl", {"url": "https://e.org/", "headers": {"a": reference("env/X")}})
    assert missing[0].field == "parameters.headers.a"


def test_secrets_of_the_step_fill_parameters_of_their_name(store: Secrets) -> None:
    given = {"host": "win-01", "path": "C:\\a"}
    secrets = {"password": reference("file/own")}
    found = bound(store, "test_path", given, secrets=secrets)
    assert found.arguments["connection"] == {"password": "acme-value"}
    assert found.secrets == ("acme-value",)
    problems = bound(store, "test_path", given, secrets={"pin": reference("file/own")})
    assert [one.field for one in problems] == ["secrets.pin"]
    assert isinstance(
        bound(store, "df", {}, secrets={"ssh_key": reference("file/own")}), Invocation
    )
