"""A router process that does not learn what became of a commit, as where its answer is lost.

Run as a program, with the file whose existence asks for it; the file is removed first.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from processors.router import app
from runtime.kafka import transaction


class ForgettingProducer(Producer):
    """Real in every respect but that the answer to a commit may be lost."""

    def commit_transaction(self, *given: Any) -> None:
        super().commit_transaction(*given)
        file = Path(sys.argv[1])
        if file.exists():
            file.unlink()
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "the answer was lost"))


if __name__ == "__main__":
    vars(transaction)["Producer"] = ForgettingProducer
    sys.exit(app.main())
