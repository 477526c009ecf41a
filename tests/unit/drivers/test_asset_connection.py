"""What may become the connection of an asset: written in the plan, or not stored at all."""

from __future__ import annotations

from typing import Any

import pytest

from drivers.databases.asset_connection import fault, kept, moves_login

TOKEN = {"type": "secret", "path": "env/PROD_TOKEN"}


@pytest.mark.parametrize("name", ["password", "key"])
def test_a_reference_that_rendering_made_is_not_stored(name: str) -> None:
    metadata = {"connection": {"address": "10.0.0.7", name: TOKEN}}
    written = (f"/metadata/connection/{name}",)
    assert fault(metadata, written) is None
    for recorded in ((), ("/metadata/connection",), ("/metadata/other",)):
        told = fault(metadata, recorded)
        assert told is not None and f"metadata.connection.{name}" in told


@pytest.mark.parametrize("login", ["the password", 7, ["x"], {}, {**TOKEN, "more": 1}])
def test_a_login_is_a_reference_and_nothing_else(login: Any) -> None:
    told = fault({"connection": {"password": login}}, ("/metadata/connection/password",))
    assert told is not None and "the password" not in told


@pytest.mark.parametrize("place", ["address", "user", "jump"])
def test_a_reference_at_another_place_is_not_stored(place: str) -> None:
    recorded = (f"/metadata/connection/{place}",)
    assert fault({"connection": {place: TOKEN}}, recorded) is not None
    assert fault({"connection": {place: [{"deep": TOKEN}]}}, recorded) is not None


@pytest.mark.parametrize("connection", ["root@web", 7, ["x"], True])
def test_a_connection_is_an_object(connection: Any) -> None:
    assert fault({"connection": connection}, ()) is not None


def test_what_is_no_connection_is_data() -> None:
    assert fault({"rack": 3, "note": TOKEN}, ()) is None
    assert fault({"connection": None}, ()) is None
    assert fault({"connection": {"address": "10.0.0.7", "port": 22}}, ()) is None


def test_metadata_without_a_connection_keeps_the_stored_one() -> None:
    stored = {"connection": {"user": "ops"}, "rack": 3}
    assert kept(stored, {"rack": 4}) == {"connection": {"user": "ops"}, "rack": 4}
    assert kept(stored, {"connection": {"user": "b"}}) == {"connection": {"user": "b"}}
    assert kept(stored, {"rack": 4, "connection": None}) == {"rack": 4}
    assert kept({}, {"rack": 4}) == {"rack": 4}


@pytest.mark.parametrize("column", ["ip_address", "hostname"])
def test_a_stored_login_does_not_move_to_another_host_by_itself(column: str) -> None:
    asset = {"hostname": "web-01", "metadata": {"connection": {"password": TOKEN}}}
    told = moves_login(asset, {column: "evil.example.org"}, {})
    assert told is not None and column in told and "metadata.connection" in told
    assert moves_login(asset, {column: "b"}, {"metadata": {"connection": {"user": "a"}}}) is None
    assert moves_login(asset, {"status": "retired"}, {}) is None
    without = {"hostname": "web-01", "metadata": {"connection": {"user": "ops"}}}
    assert moves_login(without, {column: "b"}, {}) is None
