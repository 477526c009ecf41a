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
from toolmeta.secret_references import pointers

CANARY = "canary-\x01-7f3a"


def reference(path: str) -> dict[str, str]:
    return {"type": "secret", "path": path}


@pytest.fixture
def store(tmp_path: Path) -> Secrets:
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
    return Secrets(str(folder), {"TOKEN": CANARY, "TINY": "abc"})


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
    """As the router sends it: the references of `parameters` are recorded, if not given."""
    bind = binder(registry.load(), {"http", "winrm", "command"}, store)
    changed.setdefault("secret_paths", pointers(parameters))
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


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Token": reference("file/own")},
        {"X-Token": reference("nonsense")},
        {"X-Token": reference("file/own"), "X-Other": "p"},
    ],
)
def test_what_only_looks_like_a_reference_is_refused(store: Secrets, headers: Any) -> None:
    given = {"url": "https://example.org/", "headers": headers}
    for recorded in ((), ("/headers/X-Other",), ("/headers",), ("/headers/X-Token/path",)):
        problems = bound(store, "curl", given, secret_paths=recorded)
        assert isinstance(problems, list), problems
        assert "acme-value" not in repr(problems)
    problems = bound(store, "curl", given, secret_paths=())
    assert problems[0].field == "parameters.headers.X-Token"
    assert "is no reference of the plan" in problems[0].message


def test_a_recorded_path_without_its_reference_is_refused(store: Secrets) -> None:
    for value in ("text", reference("file/own") | {"more": 1}, {"type": "text"}, None):
        given = {"url": "https://example.org/", "headers": {"X-Token": value}}
        problems = bound(store, "curl", given, secret_paths=("/headers/X-Token",))
        assert problems[0].field == "parameters.headers.X-Token"
    problems = bound(store, "curl", {"url": "https://e.org/"}, secret_paths=("/headers/X-Token",))
    assert problems[0].field == "parameters.headers.X-Token"


def test_the_secrets_of_a_step_are_references_and_nothing_else(store: Secrets) -> None:
    given = {"host": "win-01", "path": "C:\\a"}
    for value in ("{{ steps.a.output }}", {"deep": reference("file/own")}, ["x"], 7):
        problems = bound(store, "test_path", given, secrets={"password": value})
        assert [one.field for one in problems] == ["secrets.password"]
