"""Fields of a Vault server: logins, errors, TLS; of a fake of its API, and of a real one if any."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from drivers.secret_config import VaultAccess
from drivers.secret_stores import vault as secret_vault
from drivers.secret_stores.vault import Vault
from drivers.secret_use import SecretError
from tests import real_vault
from tests.certificates import Authority
from tests.fakes.vault import APPROLE, NAMESPACE, TOKEN, FakeVault
from tests.real_vault import RealVault

KV2 = {"kv/team/app": {"password": "vault-value", "port": 5432, "deep": {"a": 1}}}
KV1 = {"old/app": {"password": "old-value"}}


@pytest.fixture
def fake() -> Iterator[FakeVault]:
    server = FakeVault(kv2=KV2, kv1=KV1)
    with server.serving():
        yield server


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealVault]:
    path = real_vault.program()
    if path is None:
        pytest.skip("bao (OpenBao) is not installed: only the fake of its API is asked")
    with real_vault.serving(path, tmp_path_factory.mktemp("vault")) as server:
        server.fill(KV2, KV1)
        server.allow_logins()
        yield server


@pytest.fixture(params=["fake", "real"])
def vault(request: pytest.FixtureRequest) -> FakeVault | RealVault:
    """One suite for both, so that the fake answers as a server does."""
    if request.param == "fake":
        fake: FakeVault = request.getfixturevalue("fake")
        return fake
    real: RealVault = request.getfixturevalue("running")
    return real.fresh()


def access(server: FakeVault | RealVault, **changed: object) -> VaultAccess:
    given = VaultAccess(server.url, token=TOKEN, kv1_mounts=frozenset({"old"}))
    return replace(given, **changed)  # type: ignore[arg-type]


def login(server: FakeVault | RealVault) -> VaultAccess:
    return access(server, auth="approle", role=APPROLE[0], secret_id=APPROLE[1])


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
def test_fields_of_both_versions(
    vault: FakeVault | RealVault, name: str, value: str | None
) -> None:
    assert Vault(access(vault)).read(name, "acme") == value


def refused(reader: Vault, name: str = "kv/team/app#password") -> SecretError:
    with pytest.raises(SecretError) as caught:
        reader.read(name, "acme")
    text = str(caught.value)
    assert not any(one in text for one in ("vault-value", "old-value", "root-token", "secret-id-1"))
    return caught.value


def test_a_field_that_is_no_text(vault: FakeVault | RealVault) -> None:
    assert "is no text" in str(refused(Vault(access(vault)), "kv/team/app#deep"))


def test_what_is_not_allowed_is_denied(vault: FakeVault | RealVault) -> None:
    reader = Vault(access(vault, token=vault.token_without("kv/data/team/app")))
    error = refused(reader)
    assert error.error_class == "secret_denied" and "vault/kv/team/app" in str(error)
    assert reader.read("old/app#password", "acme") == "old-value"
    assert refused(Vault(access(vault, token="wrong"))).error_class == "secret_denied"


def test_a_refusal_is_not_asked_for_again(fake: FakeVault) -> None:
    refused(Vault(access(fake, token=fake.token_without("kv/data/team/app"))))
    assert fake.reads == ["kv/data/team/app"]


def test_a_sealed_server_does_not_answer(vault: FakeVault | RealVault) -> None:
    reader = Vault(access(vault))
    with vault.sealed():
        assert refused(reader).error_class == "secret_unavailable"
    assert reader.read("kv/team/app#password", "acme") == "vault-value"


def test_a_sealed_server_is_asked_twice(fake: FakeVault) -> None:
    fake.refuses = 1
    assert Vault(access(fake)).read("kv/team/app#password", "acme") == "vault-value"
    fake.refuses = 2
    assert refused(Vault(access(fake))).error_class == "secret_unavailable"
    assert fake.refuses == 0


def test_no_server() -> None:
    error = refused(Vault(VaultAccess("http://localhost:1", token="t")))
    assert error.error_class == "secret_unavailable"


def test_approle_logs_in_once_and_again_after_a_revoked_token(
    vault: FakeVault | RealVault,
) -> None:
    reader = Vault(login(vault))
    for _ in range(3):
        assert reader.read("kv/team/app#password", "acme") == "vault-value"
    assert vault.logins == 1
    vault.revoke_logins()
    before = vault.logins
    assert reader.read("kv/team/app#password", "acme") == "vault-value"
    assert vault.logins == before + 1


def test_a_token_is_replaced_before_it_ends(
    vault: FakeVault | RealVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=1_000.0)
    monkeypatch.setattr(secret_vault, "time", SimpleNamespace(monotonic=lambda: clock.now))
    reader = Vault(login(vault))
    # Tokens of this role live for an hour.
    for passed, logins in ((0, 1), (2_390, 1), (2_410, 2), (4_790, 2), (4_820, 3)):
        clock.now = 1_000.0 + passed
        assert reader.read("kv/team/app#password", "acme") == "vault-value"
        assert vault.logins == logins


def test_a_login_that_is_refused(vault: FakeVault | RealVault) -> None:
    reader = Vault(replace(login(vault), secret_id="wrong"))
    assert refused(reader).error_class == "secret_denied"


def test_a_namespace(vault: FakeVault | RealVault) -> None:
    inside = access(vault, namespace=NAMESPACE)
    assert Vault(inside).read("kv/team/app#password", "acme") == "vault-value"
    other = access(vault, namespace="no-such-team")
    assert Vault(other).read("kv/team/app#password", "acme") is None


def test_kubernetes(fake: FakeVault, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("service-account-jwt\n")
    given = access(
        fake, auth="kubernetes", role="runstream", token_file=str(tmp_path / "token"),
        namespace=NAMESPACE,
    )  # fmt: skip
    assert Vault(given).read("kv/team/app#password", "acme") == "vault-value"
    gone = replace(given, token_file=str(tmp_path / "absent"))
    assert refused(Vault(gone)).error_class == "secret_unavailable"


def test_a_redirect_does_not_get_the_token(fake: FakeVault) -> None:
    with FakeVault(kv2={"kv/team/app": {"password": "other-value"}}).serving() as other:
        fake.redirect = other.url
        assert refused(Vault(access(fake))).error_class == "secret_unavailable"
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
