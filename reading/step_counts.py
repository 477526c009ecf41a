"""Steps of executions that have not ended: how many have which status, and how far they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from streams.lifecycle import STEP_ENDED

if TYPE_CHECKING:
    from psycopg import Connection

    from reading.rows import Row

#: A step with items or inner steps is not counted, these are. What runs counts as far as it says.
_COUNTS: Final = """
WITH steps AS MATERIALIZED (
    SELECT execution_id, step, parent, status::text AS status, percent
    FROM execution.execution_steps WHERE execution_id = ANY(%(ids)s::uuid[])
), parents AS MATERIALIZED (
    SELECT DISTINCT execution_id, parent FROM steps WHERE parent IS NOT NULL
)
SELECT steps.execution_id::text, steps.status, count(*) AS number,
       sum(CASE WHEN steps.status = ANY(%(ended)s) THEN 100
                WHEN steps.status IN ('running', 'cancelling')
                THEN least(99, greatest(0, coalesce(steps.percent, 0)))
                ELSE 0 END) AS points
FROM steps LEFT JOIN parents
     ON parents.execution_id = steps.execution_id AND parents.parent = steps.step
WHERE parents.parent IS NULL AND steps.status IS NOT NULL
GROUP BY 1, 2
"""


class Counted(NamedTuple):
    """The steps of one execution."""

    by_status: dict[str, int]
    points: float

    @property
    def percent(self) -> float:
        """Below 100: only the end of the execution is the end."""
        total = sum(self.by_status.values())
        return min(99.9, round(self.points / total, 1)) if total else 0.0


def counted(connection: Connection[Row], idents: Sequence[str]) -> dict[str, Counted]:
    """The steps of these executions, by id."""
    given = {"ids": list(idents), "ended": sorted(STEP_ENDED)}
    found: dict[str, Counted] = {}
    for row in connection.execute(_COUNTS, given).fetchall():
        before = found.get(row["execution_id"], Counted({}, 0.0))
        found[row["execution_id"]] = Counted(
            {**before.by_status, row["status"]: row["number"]},
            before.points + float(row["points"]),
        )
    return found
