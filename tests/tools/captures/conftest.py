"""A network with real servers inside, and tools that listen to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.tools.conftest import Execute, Result
from tests.tools.netns import Lab, need, network


@pytest.fixture(scope="package")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    need("tcpdump")
    with network(tmp_path_factory.mktemp("lab")) as made:
        yield made


@pytest.fixture
def listen(execute: Execute, lab: Lab) -> Callable[..., Result]:
    """Runs a tool that listens while something happens on the network again and again.

    A test gives the `packets` of three such rounds, so that at least two are whole, or `seconds`
    where the kernel does not send the same number of packets each time.
    """

    def run(tool: str, once: Callable[[], object], **parameters: Any) -> Result:
        with lab.traffic(once):
            return execute(tool, {"interface": lab.device, "seconds": 60, **parameters})

    return run
