"""Size budgets: the most bytes that each kind of record may have, checked where it is decided.

A record within its budget fits a broker with Kafka's default limit (`message.max.bytes`, 1,048,588
bytes for a batch, headers and overhead included), so no decision ever meets the client's or the
broker's own limit. What would exceed a budget fails its request or its step with the class
`too_large`; nothing else notices.
"""

from __future__ import annotations

from typing import Final

_KIB: Final = 1024

#: The value of any record that we write. The rest of the broker's limit is left for key, headers
#: and batch overhead.
MAX_RECORD_BYTES: Final = 1_000_000
#: A whole execution request, as the producer sent it.
MAX_REQUEST_BYTES: Final = 512 * _KIB
#: A control command, as the operator sent it.
MAX_CONTROL_BYTES: Final = 64 * _KIB
#: A report of an executor: the output, both stream summaries and the error or evidence.
MAX_REPORT_BYTES: Final = 512 * _KIB
#: A dead letter, key and headers included. Its source topic takes records of 2 MiB as they are on
#: the wire; what was compressed can be any size.
MAX_DEAD_LETTER_BYTES: Final = 2_048 * _KIB
#: The output of a step, as JSON; what later steps may reference.
MAX_OUTPUT_BYTES: Final = 240 * _KIB
#: The plan as admitted, as JSON, with everything that admission adds to it.
MAX_PLAN_BYTES: Final = 900_000
#: The parameters of one attempt after its references are resolved, as JSON.
MAX_PARAMETERS_BYTES: Final = 512 * _KIB
#: The parameters of all attempts that one decision sends, as JSON: each item of a step has its own.
MAX_DISPATCH_BYTES: Final = 64 * _KIB * _KIB
#: The items of a `for_each` step, as JSON, all together.
MAX_ITEMS_BYTES: Final = 512 * _KIB
#: The references to secrets of one step, as JSON.
MAX_SECRETS_BYTES: Final = 64 * _KIB
#: What the router keeps of a report that came too late: its evidence, as JSON.
MAX_EVIDENCE_BYTES: Final = 16 * _KIB
#: The names of everything that one execution locks, with what its record adds to each.
MAX_LOCK_BYTES: Final = 128 * _KIB

MAX_STEPS: Final = 1_000
#: Steps of one execution, the items of `for_each` steps and compensations included.
MAX_EXECUTION_STEPS: Final = 2 * MAX_STEPS
#: More attempts than any step can have; a report that names a later one is not ours.
MAX_ATTEMPTS: Final = 10_000
#: The largest integer that JSON readers, Postgres and orjson share.
MAX_INTEGER: Final = 2**63 - 1
