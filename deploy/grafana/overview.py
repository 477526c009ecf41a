"""What goes on, at a glance."""

from __future__ import annotations

from typing import Final

from deploy.grafana.panels import Dashboard, panel
from deploy.grafana.queries import quantiles, rate, total

_ENDED: Final = 'runstream_executions_ended_total{status=~"completed|failed|partial|timed_out"}'
_FAILED: Final = 'runstream_executions_ended_total{status=~"failed|partial|timed_out"}'

OVERVIEW: Final = Dashboard(
    "runstream-overview",
    "Runstream: overview",
    (
        (
            "Now",
            (
                panel(
                    "Active executions", total("runstream_executions_active"), kind="stat", width=4
                ),
                panel(
                    "SLA met, last hour",
                    'sum(increase(runstream_sla_executions_total{result="met"}[1h])) '
                    "/ sum(increase(runstream_sla_executions_total[1h]))",
                    kind="stat",
                    width=4,
                    unit="percentunit",
                ),
                panel(
                    "Not completed, last 30 minutes",
                    f"sum(increase({_FAILED}[30m])) / sum(increase({_ENDED}[30m]))",
                    kind="stat",
                    width=4,
                    unit="percentunit",
                    worse_from=0.2,
                ),
                panel(
                    "Stuck", total("runstream_executions_stuck"), kind="stat", width=4, worse_from=1
                ),
                panel(
                    "Wait for approval", total("runstream_approvals_waiting"), kind="stat", width=4
                ),
                panel(
                    "Processes that are not ready",
                    "count(runstream_ready) - sum(runstream_ready)",
                    kind="stat",
                    width=4,
                    worse_from=1,
                ),
            ),
        ),
        (
            "Work",
            (
                panel(
                    "Executions ended a second",
                    (rate("runstream_executions_ended_total", "status"), "{{status}}"),
                    stacked=True,
                ),
                panel(
                    "Requests a second",
                    (rate("runstream_requests_total", "outcome"), "{{outcome}}"),
                    stacked=True,
                ),
                panel(
                    "Living executions",
                    (total("runstream_executions", "status"), "{{status}}"),
                    stacked=True,
                    about="By status, as the projector knows them.",
                ),
                panel(
                    "Steps ended a second",
                    (
                        rate("runstream_steps_ended_total", "domain", "status"),
                        "{{domain}} {{status}}",
                    ),
                    stacked=True,
                ),
                panel(
                    "Ended in the last hour by tenant",
                    (
                        total("runstream_last_hour_executions", "tenant", "status"),
                        "{{tenant}} {{status}}",
                    ),
                ),
                panel("Events a second", (rate("runstream_events_total"), "events")),
            ),
        ),
        (
            "Router",
            (
                quantiles("Transaction time", "runstream_transaction_seconds"),
                panel(
                    "Transactions a second",
                    (rate("runstream_transactions_total", "outcome"), "{{outcome}}"),
                ),
                panel(
                    "Lag in records",
                    (total("runstream_consumer_lag_records", "group"), "{{group}}"),
                    worse_from=1_000,
                ),
            ),
        ),
        (
            "Processes",
            (
                panel(
                    "Memory",
                    (
                        "process_resident_memory_bytes * on (instance) group_left (app) "
                        "runstream_build_info",
                        "{{app}} {{instance}}",
                    ),
                    unit="bytes",
                ),
                panel(
                    "CPU",
                    (
                        "rate(process_cpu_seconds_total[$__rate_interval]) * on (instance) "
                        "group_left (app) runstream_build_info",
                        "{{app}} {{instance}}",
                    ),
                    unit="percentunit",
                ),
                panel(
                    "Time since the start",
                    ("time() - runstream_start_time_seconds", "{{app}} {{instance}}"),
                    unit="s",
                ),
            ),
        ),
    ),
)
