"""What an executor of root must be allowed to do before it gives programs other users."""

from __future__ import annotations

import pytest

from drivers.step_users import _check_capabilities
from runtime.settings import SettingsError


def status(effective: str) -> str:
    return f"Name:\tpython\nCapPrm:\t000001ffffffffff\nCapEff:\t{effective}\nCapBnd:\t0\n"


def test_all_rights_and_those_of_an_ordinary_container_do() -> None:
    _check_capabilities(status("000001ffffffffff"))
    _check_capabilities(status("00000000a80425fb"))


@pytest.mark.parametrize(
    ("effective", "lacking"),
    [("0000000000000000", "CAP_SETUID"), ("00000000a80425db", "CAP_KILL")],
)
def test_what_is_missing_is_named(effective: str, lacking: str) -> None:
    with pytest.raises(SettingsError, match=lacking):
        _check_capabilities(status(effective))
