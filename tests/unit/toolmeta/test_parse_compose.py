"""`ps` of both generations of Compose: the same fields of the same containers."""

from __future__ import annotations

import json

import pytest

from toolmeta.parse import parse

FIRST = """\
    Name                   Command               State           Ports
-------------------------------------------------------------------------------
app_shop_1   /bin/sh -c exec sleep 600   Up       0.0.0.0:8080->80/tcp
"""
SECOND = """\
NAME         IMAGE     COMMAND                  SERVICE   CREATED         STATUS                     PORTS
app-shop-1   web:1.4   "/bin/sh -c 'größe …"    shop      2 minutes ago   Up 2 minutes               0.0.0.0:8080->80/tcp
app-old-1    web:1.3   "sleep 600"              old       2 minutes ago   Exited (137) 1 second ago
"""  # noqa: E501
ROW = {
    "Command": '"/bin/sh -c \'exec sl…"',
    "Image": "web:1.4",
    "Name": "app-shop-1",
    "Publishers": [
        {"URL": "0.0.0.0", "TargetPort": 80, "PublishedPort": 8080, "Protocol": "tcp"},
        {"URL": "", "TargetPort": 443, "PublishedPort": 0, "Protocol": "tcp"},
    ],
    "Service": "shop",
    "State": "running",
    "Status": "Up 2 minutes",
}


def test_the_table_of_the_first() -> None:
    found = parse("docker_compose", FIRST, 0)
    assert found["containers"] == [
        {
            "name": "app_shop_1",
            "command": "/bin/sh -c exec sleep 600",
            "state": "Up",
            "ports": "0.0.0.0:8080->80/tcp",
        }
    ]


def test_the_table_of_the_second() -> None:
    first, second = parse("docker_compose", SECOND, 0)["containers"]
    assert first["command"] == "/bin/sh -c 'größe …"
    assert (first["name"], first["service"], first["image"]) == ("app-shop-1", "shop", "web:1.4")
    assert (first["state"], first["ports"]) == ("Up 2 minutes", "0.0.0.0:8080->80/tcp")
    assert (second["state"], second["ports"]) == ("Exited (137) 1 second ago", "")


@pytest.mark.parametrize("text", [json.dumps([ROW]), json.dumps(ROW), f"{json.dumps(ROW)}\n"])
def test_json_of_the_second(text: str) -> None:
    found = parse("docker_compose", text, 0)
    assert found["count"] == 1
    [container] = found["containers"]
    assert (container["name"], container["state"]) == ("app-shop-1", "Up 2 minutes")
    assert container["ports"] == "0.0.0.0:8080->80/tcp, 443/tcp"


def test_nothing_is_an_answer() -> None:
    assert parse("docker_compose", "[]\n", 0)["containers"] == []
    assert parse("docker_compose", "", 0)["lines"] == []


@pytest.mark.parametrize("text", ['{"Name": 1}', "[1]", "{not JSON", "NAME of a STATUS\nx\n"])
def test_what_is_no_list_is_lines(text: str) -> None:
    assert "lines" in parse("docker_compose", text, 0)
