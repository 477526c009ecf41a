"""Values of all kinds for the paths that write, by Schemathesis, over the router's own code.

`tests/integration/test_api.py` does the same with every path of a running API.
"""

from __future__ import annotations

import warnings
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings

from api import app
from api.problems import MEDIA_TYPE
from tests.unit.api.router_lab import Lab

with warnings.catch_warnings():
    # Of its own libraries.
    warnings.simplefilter("ignore")
    import schemathesis
    from schemathesis import GenerationMode

DOCUMENT = app.create(None).openapi()
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
PLAN = {"steps": [{"id": "one", "tool": "noop"}], "approval_level": 1}
PATHS = [
    path
    for path, methods in DOCUMENT["paths"].items()
    if "post" in methods and path.startswith(("/v1/executions", "/v1/explain"))
]


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("path", PATHS)
def test_no_value_makes_the_api_fail(path: str, mode: Any) -> None:
    lab = Lab()
    ident = lab.post("/v1/executions", PLAN).json()["execution_id"]
    strategy = SCHEMA[path]["POST"].as_strategy(generation_mode=mode)

    @settings(
        max_examples=15, derandomize=True, deadline=None, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=strategy)
    def attack(case: Any) -> None:
        if "ident" in (case.path_parameters or {}):
            case.path_parameters["ident"] = ident
        given = case.as_transport_kwargs(base_url="http://x")
        sent = {name: given[name] for name in ("params", "json", "headers") if given.get(name)}
        sent["headers"] = {
            name: str(value).encode("utf-8", "replace")
            for name, value in sent.get("headers", {}).items()
        }
        try:
            answer = lab.post(str(given["url"]).removeprefix("http://x"), **sent)
        except (httpx.InvalidURL, httpx.LocalProtocolError):
            return  # What no client sends.
        assert answer.status_code < 500, answer.text
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == MEDIA_TYPE
            assert len(answer.json()["detail"]) < 3_000

    attack()
