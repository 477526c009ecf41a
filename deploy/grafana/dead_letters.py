"""Dead letters, defects and forgeries."""

from __future__ import annotations

from typing import Final

from deploy.grafana.panels import Dashboard, panel
from deploy.grafana.queries import rate

DEAD_LETTERS: Final = Dashboard(
    "runstream-dead-letters",
    "Runstream: dead letters",
    (
        (
            "Records that nobody could use",
            (
                panel(
                    "In 10 minutes, by topic and class",
                    (
                        "sum by (topic, error_class) (increase(runstream_dead_letters_total[10m]))",
                        "{{topic}} {{error_class}}",
                    ),
                    width=16,
                    stacked=True,
                    worse_from=100,
                ),
                panel(
                    "Most since the start of the processes",
                    (
                        "topk(15, sum by (topic, error_class) (runstream_dead_letters_total))",
                        "{{topic}} {{error_class}}",
                    ),
                    kind="bargauge",
                ),
                panel(
                    "Requests that are no requests, a second",
                    (rate('runstream_requests_total{outcome="dead_letter"}'), "requests"),
                ),
                panel(
                    "Steps given up, in 10 minutes",
                    (
                        "sum by (topic) (increase(runstream_dead_letters_total"
                        '{error_class="retries_exhausted"}[10m]))',
                        "{{topic}}",
                    ),
                ),
                panel(
                    "Reports of unknown executions a second",
                    (rate("runstream_reports_unknown_total"), "reports"),
                ),
            ),
        ),
        (
            "Defects and forgeries",
            (
                panel(
                    "Decisions that raised, in 10 minutes",
                    ("sum by (stage) (increase(runstream_undecidable_total[10m]))", "{{stage}}"),
                    worse_from=1,
                    width=12,
                ),
                panel(
                    "Refused for their signature, in 10 minutes",
                    (
                        "sum by (record) (increase(runstream_not_authentic_total[10m]))",
                        "{{record}}",
                    ),
                    worse_from=1,
                    width=12,
                ),
            ),
        ),
    ),
)
