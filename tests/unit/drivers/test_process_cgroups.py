"""Where the cgroup of a process lies below a mount."""

from __future__ import annotations

import pytest

from drivers.process_cgroups import _below


@pytest.mark.parametrize(
    ("path", "root", "expected"),
    [
        ("/", "/", ""),
        ("/system.slice/executor.service", "/", "system.slice/executor.service"),
        ("/docker/1/inner", "/docker/1", "inner"),
        ("/docker/1", "/docker/1", ""),
        ("/docker/12", "/docker/1", None),
        ("/../other", "/", None),
    ],
)
def test_the_path_below_a_mount(path: str, root: str, expected: str | None) -> None:
    assert _below(path, root) == expected
