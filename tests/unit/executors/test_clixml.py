"""Objects of PowerShell as JSON values."""

from __future__ import annotations

from typing import Any

import pytest

from drivers.powershell import pipeline
from drivers.powershell.clixml import ClixmlError, read, unescaped
from drivers.powershell.names import snake

SERVICE = """<Obj RefId="0"><TN RefId="0"><T>Selected.System.ServiceProcess.ServiceController</T>
<T>System.Object</T></TN><MS><S N="Name">W32Time</S><Obj N="Status" RefId="1"><TN RefId="1">
<T>System.ServiceProcess.ServiceControllerStatus</T><T>System.Enum</T><T>System.ValueType</T>
<T>System.Object</T></TN><ToString>Running</ToString><I32>4</I32></Obj><Nil N="Site" />
<Obj N="Start" RefId="2"><TNRef RefId="1" /><ToString>Automatic</ToString><I32>2</I32></Obj>
<S N="RunspaceId">x</S></MS></Obj>"""


def test_properties_and_enumerations() -> None:
    assert read(SERVICE) == {
        "Name": "W32Time", "Status": "Running", "Site": None, "Start": "Automatic",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("<S>a_x000A_b_x005F_x0041__xD83D__xDE00_</S>", "a\nb_x0041_\U0001f600"),
        ("<B>true</B>", True),
        ("<I32>-5</I32>", -5),
        ("<U64>18446744073709551615</U64>", "18446744073709551615"),
        ("<Db>1.5E3</Db>", 1500.0),
        ("<Sg>INF</Sg>", "inf"),
        ("<C>67</C>", "C"),
        ("<TS>P1DT2H3M4.5S</TS>", 93_784.5),
        ("<TS>-PT1S</TS>", -1.0),
        ("<DT>2026-01-31T08:00:01.1234567Z</DT>", "2026-01-31T08:00:01.1234567Z"),
        ("<D>1.10</D>", "1.10"),
        ("<BA>aGk=</BA>", "aGk="),
        ("<Nil />", None),
        ("<SS>AAAA</SS>", "(secure string)"),
        ('<Obj RefId="0"><LST><S>a</S><I32>1</I32></LST></Obj>', ["a", 1]),
        ('<Obj RefId="0"><IE><S>a</S></IE></Obj>', ["a"]),
        ('<Obj RefId="0"><DCT><En><S N="Key">k</S><I32 N="Value">1</I32></En></DCT></Obj>',
         {"k": 1}),
        ('<Obj RefId="0"><ToString>shown</ToString></Obj>', "shown"),
        ('<Obj RefId="0"><S>line</S><MS><S N="PSPath">p</S></MS></Obj>', "line"),
        ('<Obj RefId="0"><MS><Obj N="a" RefId="1"><MS><I32 N="x">1</I32></MS></Obj>'
         '<Ref N="b" RefId="1" /><Ref N="c" RefId="0" /></MS></Obj>',
         {"a": {"x": 1}, "b": {"x": 1}, "c": None}),
    ],
)  # fmt: skip
def test_values(text: str, value: Any) -> None:
    assert read(text) == value


@pytest.mark.parametrize("text", ["", "<Obj", "<I32>x</I32>", "<C>99999999</C>"])
def test_what_is_not_clixml(text: str) -> None:
    with pytest.raises(ClixmlError):
        read(text)


def test_depth_is_bounded() -> None:
    text = '<Obj RefId="0"><MS>' * 500 + "<S N='a'>x</S>" + "</MS></Obj>" * 500
    assert "nested too deep" in str(read(text.replace("<Obj RefId", "<Obj N='a' RefId")))
    assert unescaped("plain") == "plain"


@pytest.mark.parametrize(
    ("name", "shown"),
    [("DisplayName", "display_name"), ("IPAddress", "ip_address"), ("DNSHostName", "dns_host_name"),
     ("IPv4Address", "ipv4_address"), ("SID", "sid"), ("__CLASS", "class"), ("VlanID", "vlan_id"),
     ("Next Run Time", "next_run_time"), ("MTUSize(Bytes)", "mtu_size_bytes"), ("%", "value")],
)  # fmt: skip
def test_names(name: str, shown: str) -> None:
    assert snake(name) == shown


def test_a_pipeline_is_a_cmdlet_or_a_script_and_parameters_have_plain_names() -> None:
    made = pipeline.commands_of(
        {
            "cmdlet": "Get-WinEvent",
            "parameters": {"FilterHashtable": {"StartTime": {"as": "datetime"}, "Id": [1]}},
            "expand": "Parts",
            "properties": ["Id"],
            "limit": 5,
            "as_text": True,
        }
    )
    assert [(one.text, one.parameters) for one in made] == [
        ("Get-WinEvent", {"FilterHashtable": {"Id": [1]}}),
        ("Select-Object", {"ExpandProperty": "Parts"}),
        ("Select-Object", {"Property": ["Id"], "First": 6}),
        ("Out-String", {"Stream": True, "Width": 4096}),
    ]
    for arguments in (
        {},
        {"cmdlet": "Get-Service; id"},
        {"cmdlet": "iex"},
        {"cmdlet": "Get-Service", "parameters": {"Name; id": 1}},
    ):
        with pytest.raises(ValueError, match=r"neither|name"):
            pipeline.commands_of(arguments)
