"""The values of Secrets in a manifest are masked by themselves."""

from __future__ import annotations

import base64
import json

import pytest

from drivers.masking import Masker
from drivers.secret_manifests import values_within


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


SECRET = {"kind": "Secret", "data": {"a": encoded("größer-4")}, "stringData": {"b": "hunter22"}}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(SECRET),
        f"---\nkind: Service\n---\n{json.dumps(SECRET)}\n",
        json.dumps({"kind": "List", "items": [{"kind": "List", "items": [SECRET]}]}),
        f"{json.dumps(SECRET)}\n---\n]: no more YAML",
    ],
)
def test_values_of_every_secret(text: str) -> None:
    assert values_within(text) == {"größer-4", encoded("größer-4"), "hunter22"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Secret data",
        "[Secret, data]",
        "kind: Secret\ndata: text",
        "kind: Secret\ndata: {a: 1}",
        "kind: Secret\nstringData:\n- a",
        "kind: ConfigMap\ndata: {a: not-a-Secret}",
        "&a {kind: List, items: [*a], data: Secret}",
    ],
)
def test_what_holds_none(text: str) -> None:
    assert values_within(text) == frozenset()


def test_a_patch_of_it_is_masked() -> None:
    masker = Masker(values_within(json.dumps(SECRET)))
    patch = json.dumps({"data": {"a": encoded("größer-4"), "b": encoded("hunter22")}})
    assert masker.text(f"error when applying patch:\n{patch}\nto:") == (
        'error when applying patch:\n{"data": {"a": "***", "b": "***="}}\nto:'
    )


def test_a_list_that_stands_for_very_many() -> None:
    ten = ", ".join(["*a"] * 100)
    text = f"- &a {{kind: Secret, data: {{a: b}}, items: [{ten}]}}".removeprefix("- ")
    assert values_within(text) == {"b"}
    levels = "".join(
        f"l{n}: &l{n} {{kind: List, items: [{', '.join([f'*l{n - 1}'] * 100)}]}}\n"
        for n in range(1, 4)
    )
    many = f"kind: List\nl0: &l0 {{kind: Secret, data: {{a: hunter22}}}}\n{levels}items: [*l3]\n"
    assert values_within(many) == {"hunter22"}
