"""Templates: variables are values, and neither they nor the template reach beyond the text."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from drivers.files.template import NotRendered, rendered
from tests.driver_kit import failed, succeeded
from tests.files_kit import own_folders, ran


def text(template: str, **variables: Any) -> str:
    return asyncio.run(rendered(template, variables)).decode()


def refusal(template: str, **variables: Any) -> str:
    with pytest.raises(NotRendered) as found:
        text(template, **variables)
    return str(found.value)


def test_values_are_data() -> None:
    hostile = "{{ 7 * 7 }}{% for x in y %}$(id)<&>"
    assert text("v={{ v }};\n", v=hostile) == f"v={hostile};\n"
    made = text("{% for h in hosts %}\nserver {{ h.name }}:{{ h.port }};\n{% endfor %}\n",
                hosts=[{"name": "a", "port": 80}, {"name": "ü", "port": 81}])  # fmt: skip
    assert made == "server a:80;\nserver ü:81;\n"


def test_what_is_not_there_is_said() -> None:
    assert refusal("a\n{{ missing }}") == "line 2: 'missing' is undefined"
    assert "line 1" in refusal("{% if %}")
    assert "no loader" in refusal("{% include '/etc/passwd' %}") or "TypeError" in refusal(
        "{% include '/etc/passwd' %}"
    )


def test_no_value_stands_in_a_refusal() -> None:
    told = refusal(
        "{{ {}[secret] }}{{ secret + 1 }}{{ secret|int(1)|round('x') }}", secret="canary"
    )
    assert "canary" not in told


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ self.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ v.append(1) }}",
    ],
)
def test_the_sandbox_holds(template: str) -> None:
    told = refusal(template, v=[])
    assert "line 1" in told and ("unsafe" in told or "SecurityError" in told), told


@pytest.mark.parametrize(
    "template",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{{ ('x' * n) * n }}",
        "{% for a in range(99999) %}{{ 'xxxxxxxxxx' * 100 }}{% endfor %}",
    ],
)
def test_what_never_ends_is_ended(template: str) -> None:
    began = time.monotonic()
    told = refusal(template, n=10**6)
    assert time.monotonic() - began < 30
    assert "memory" in told or "more than" in told or "line 1" in told


def test_by_the_tool(tmp_path: Path) -> None:
    configured = own_folders(tmp_path)
    (tmp_path / "library" / "motd.j2").write_text("Welcome to {{ name }}.\n")
    put: dict[str, Any] = {
        "path": f"{tmp_path}/transfer/acme/motd",
        "template": f"{tmp_path}/library/motd.j2",
    }
    done = succeeded(ran(configured, "file_put", **put, variables={"name": "web-01"}, mode="0644"))
    assert Path(put["path"]).read_text() == "Welcome to web-01.\n" and done["changed"]
    assert "+Welcome to web-01.\n" in done["diff"]
    again = succeeded(ran(configured, "file_put", **put, variables={"name": "web-01"}))
    assert not again["changed"]
    # What a plan could have written is none.
    (tmp_path / "transfer" / "acme" / "own.j2").write_text("{{ 1 }}")
    own = {**put, "template": f"{tmp_path}/transfer/acme/own.j2"}
    told = failed(ran(configured, "file_put", **own), "capability_missing")
    assert f"RUNSTREAM_LIBRARY_FOLDERS ({tmp_path}/library)" in told
    assert "TRANSFER" not in told
    told = failed(ran(configured, "file_put", **put), "invalid_parameters")
    assert told.endswith("cannot be rendered: line 1: 'name' is undefined")
    assert Path(put["path"]).read_text() == "Welcome to web-01.\n"
