"""An executor of the test domain that stops itself, as SIGSTOP does, at one point of a claim.

Run as a program: the point, then the file whose existence asks for it; the file is removed first.
"""

from __future__ import annotations

import sys
from typing import Any

from processors.executors import app
from runtime.kafka import transaction
from streams.topics import TEST_DOMAIN
from tests.integration import stopping_router
from tests.integration.stopping_router import StoppingProducer, reached

#: The points of a claim's transaction, in their order.
POINTS = ("after_begin", *stopping_router.POINTS)


class StoppingClaims(StoppingProducer):
    """It can stop the process before the first record of a transaction, too."""

    def begin_transaction(self, *given: Any) -> None:
        super().begin_transaction(*given)
        reached("after_begin")


if __name__ == "__main__":
    vars(transaction)["Producer"] = StoppingClaims
    sys.exit(app.main([TEST_DOMAIN]))
