"""A simulated camera, and tools that run on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes.camera import Camera
from tests.tools.cameras.kit import On
from tests.tools.conftest import Execute


@pytest.fixture
def camera() -> Iterator[Camera]:
    with Camera() as running:
        yield running


@pytest.fixture
def on(execute: Execute, camera: Camera) -> On:
    return On(execute, camera)
