"""Fields of a Vault server, spoken with hvac to a fake of its API: logins, errors, TLS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from drivers.secret_config import VaultAccess
from drivers.secret_stores.vault import Vault
from drivers.secret_use import SecretError
from tests.certificates import Authority
from tests.fakes.vault import FakeVault


@pytest.fixture
def vault() -> Iterator[FakeVault]:
    server = FakeVault(
        kv2={"kv/team/app": {"password": "vault-value", "port": 5432, "deep": {"a": 1}}},
        kv1={"old/app": {"password": "old-value"}},
    )
    with server.serving():
        yield server


def access(server: FakeVault, **changed: object) -> VaultAccess:
    given = VaultAccess(server.url, token="root-token", kv1_mounts=frozenset({"old"}))
    return replace(given, **changed)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kv/team/app#password", "vault-value"),
        ("kv/team/app#port", "5432"),
        ("kv/team/app#absent", None),
        ("kv/team/absent#password", None),
        ("old/app#password", "old-value"),
        ("old/absent#password", None),
    ],
)
def test_fields_of_both_versions(vault: FakeVault, name: str, value: str | None) -> None:
    assert Vault(access(vault)).read(name, "acme") == value


def refused(reader: Vault, name: str = "kv/team/app#password") -> SecretError:
    with pytest.raises(SecretError) as caught:
        reader.read(name, "acme")
    text = str(caught.value)
    assert not any(one in text for one in ("vault-value", "old-value", "root-token", "secret-id-1"))
    return caught.value


def test_a_field_that_is_no_text(vault: FakeVault) -> None:
    assert "is no text" in str(refused(Vault(access(vault)), "kv/team/app#deep"))


def test_what_is_not_allowed_is_denied(vault: FakeVault) -> None:
    vault.denied.add("kv/data/team/app")
    error = refused(Vault(access(vault)))
    assert error.error_class == "secret_denied" and "vault/kv/team/app" in str(error)
    assert refused(Vault(access(vault, token="wrong"))).error_class == "secret_denied"
    assert vault.reads == ["kv/data/team/app"]


def test_a_sealed_server_is_asked_twice(vault: FakeVault) -> None:
    vault.sealed = 1
    assert Vault(access(vault)).read("kv/team/app#password", "acme") == "vault-value"
    vault.sealed = 2
    assert refused(Vault(access(vault))).error_class == "secret_unavailable"
    assert vault.sealed == 0


def test_no_server() -> None:
    error = refused(Vault(VaultAccess("http://localhost:1", token="t")))
    assert error.error_class == "secret_unavailable"


def test_approle_logs_in_once_and_again_after_a_revoked_token(vault: FakeVault) -> None:
    reader = Vault(access(vault, auth="approle", role="role-1", secret_id="secret-id-1"))
    for _ in range(3):
        assert reader.read("kv/team/app#password", "acme") == "vault-value"
    assert vault.logins == 1
    vault.tokens.clear()
    assert reader.read("kv/team/app#password", "acme") == "vault-value"
    assert vault.logins == 2


def test_a_token_is_replaced_before_it_ends(vault: FakeVault) -> None:
    vault.lease_seconds = -1
    reader = Vault(access(vault, auth="approle", role="role-1", secret_id="secret-id-1"))
    for _ in range(3):
        assert reader.read("kv/team/app#password", "acme") == "vault-value"
    assert vault.logins == 3


def test_a_login_that_is_refused(vault: FakeVault) -> None:
    reader = Vault(access(vault, auth="approle", role="role-1", secret_id="wrong"))
    assert refused(reader).error_class == "secret_denied"


def test_kubernetes_and_a_namespace(vault: FakeVault, tmp_path: Path) -> None:
    vault.namespace = "team-a"
    (tmp_path / "token").write_text("service-account-jwt\n")
    given = access(
        vault, auth="kubernetes", role="runstream", token_file=str(tmp_path / "token"),
        namespace="team-a",
    )  # fmt: skip
    assert Vault(given).read("kv/team/app#password", "acme") == "vault-value"
    assert Vault(replace(given, namespace=None)).read("kv/a#b", "acme") is None
    gone = replace(given, token_file=str(tmp_path / "absent"))
    assert refused(Vault(gone)).error_class == "secret_unavailable"


def test_a_redirect_does_not_get_the_token(vault: FakeVault) -> None:
    with FakeVault(kv2={"kv/team/app": {"password": "other-value"}}).serving() as other:
        vault.redirect = other.url
        assert refused(Vault(access(vault))).error_class == "secret_unavailable"
        assert other.reads == []


def test_the_certificate_is_checked(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    tls = authority.server("localhost")
    server = FakeVault(kv2={"kv/team/app": {"password": "vault-value"}})
    with server.serving(tls):
        trusting = access(server, ca_file=str(authority.ca_file))
        assert Vault(trusting).read("kv/team/app#password", "acme") == "vault-value"
        assert refused(Vault(access(server))).error_class == "secret_unavailable"
    assert server.reads == ["kv/data/team/app"]


def test_nothing_shows_credentials() -> None:
    shown = repr(VaultAccess("https://v", token="canary-token", secret_id="canary-id"))
    assert "canary" not in shown
