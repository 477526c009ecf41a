"""Who is let in: a token, or the cookie that holds one; on every path that there is."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI

from api import app
from api.authentication import PLAIN_COOKIE, SECURE_COOKIE, Authentication, Tokens
from api.caller import CurrentCaller
from api.problems import install
from authority import bearer
from authority.key_files import changing_trusted
from authority.keys import KeyUse, PrivateKey
from authority.policy_file import PolicyFile
from authority.tokens import sign
from authority.trust import TrustedKeys
from tests.unit.api.asgi import Asgi
from toolmeta import registry

ANN = PrivateKey.generate(KeyUse(role="actor", tenant="acme", actor="ann"))
EVE = PrivateKey.generate(KeyUse(role="actor", tenant="acme", actor="ann"))
PATHS = [
    (method.upper(), path)
    for path, methods in app.create(None).openapi()["paths"].items()
    for method in methods
]


def token(key: PrivateKey = ANN, audience: str = "here", *, read_only: bool = False) -> str:
    return bearer.make(key, audience, time.time(), 60, "x", read_only=read_only)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    file = Path(tmp_path_factory.mktemp("keys")) / "trusted.jwks"
    with changing_trusted(file) as trusted:
        trusted[ANN.kid] = ANN.trusted
    policies = PolicyFile(None, registry.load(), lambda _: None)
    return Tokens(TrustedKeys(file, lambda _: None), policies, "here")


def client_of(application: FastAPI, tokens: Tokens) -> Asgi:
    guarded: Any = Authentication(application, tokens)
    return Asgi(guarded)


@pytest.fixture
def client(tokens: Tokens) -> Asgi:
    """Two paths that say who calls."""
    router = APIRouter()

    @router.get("/v1/who")
    @router.post("/v1/who")
    def who(caller: CurrentCaller) -> dict[str, str]:
        return {"actor": caller.actor, "tenant": caller.tenant}

    application = FastAPI()
    install(application)
    application.include_router(router)
    return client_of(application, tokens)


@pytest.mark.parametrize(
    "shown",
    [
        None, "", "Basic YW5uOng=", "Bearer", "Bearer x", f"Bearer {token(EVE)}",
        f"Bearer {token(audience='there')}", f"token {token()}", f"Bearer {token()}x",
        f"Bearer {sign(ANN, 'execution.requests', 'here', b'', time.time()).decode()}",
    ],
)  # fmt: skip
def test_nobody_else_is_told_more_than_401_on_any_path(tokens: Tokens, shown: str | None) -> None:
    headers = {} if shown is None else {"Authorization": shown}
    assert len(PATHS) > 30
    found = client_of(app.create(None), tokens)
    for method, path in [*PATHS, ("GET", "/v1"), ("GET", "/v1/nothing"), ("PUT", "/v1/tools")]:
        answer = found.request(method, path, headers=headers, content=b"{")
        assert answer.status_code == 401, (method, path)
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["type"] == "urn:runstream:problem:unauthorized"
    assert found.get("/v1/openapi.json", headers=headers).status_code == 200


def test_a_token_says_who_calls(client: Asgi) -> None:
    for scheme in ("Bearer", "bearer", "BEARER"):
        answer = client.get("/v1/who", headers={"Authorization": f"{scheme} {token()}"})
        assert answer.json() == {"actor": "ann", "tenant": "acme"}


def test_a_token_for_reading_may_look_only(client: Asgi) -> None:
    headers = {"Authorization": f"Bearer {token(read_only=True)}"}
    assert client.get("/v1/who", headers=headers).status_code == 200
    assert client.post("/v1/who", headers=headers).status_code == 403


@pytest.mark.parametrize("name", [SECURE_COOKIE, PLAIN_COOKIE])
def test_a_cookie_changes_something_from_a_page_of_this_host_only(client: Asgi, name: str) -> None:
    cookie = {"Cookie": f"{name}={token()}"}

    def post(**headers: str) -> httpx.Response:
        return client.post("/v1/who", headers={**cookie, **headers})

    assert client.get("/v1/who", headers=cookie).status_code == 200
    assert post(Origin="http://runs.example").status_code == 200
    for origin in (
        "http://evil.example",
        "null",
        "http://runs.example.evil",
        "http://runs.example:1",
    ):
        assert post(Origin=origin).status_code == 403
    assert post().status_code == 403


def test_a_forged_cookie_is_nobodys(client: Asgi) -> None:
    assert (
        client.get("/v1/who", headers={"Cookie": f"{PLAIN_COOKIE}={token(EVE)}"}).status_code == 401
    )
