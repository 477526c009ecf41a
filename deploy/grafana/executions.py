"""Executions: their SLA, their time, their steps, and the people they wait for."""

from __future__ import annotations

from typing import Final

from deploy.grafana.panels import Dashboard, panel
from deploy.grafana.queries import quantile, quantiles, rate, total

EXECUTIONS: Final = Dashboard(
    "runstream-executions",
    "Runstream: executions and SLA",
    (
        (
            "SLA",
            (
                panel(
                    "SLA met",
                    (
                        "sum by (sla_class) "
                        '(increase(runstream_sla_executions_total{result="met"}[1h]))'
                        " / sum by (sla_class) (increase(runstream_sla_executions_total[1h]))",
                        "{{sla_class}}",
                    ),
                    unit="percentunit",
                    about="Of those that ended in the last hour.",
                ),
                panel(
                    "Breaches in 10 minutes",
                    (
                        "sum by (sla_class) (increase(runstream_sla_breaches_total[10m]))",
                        "{{sla_class}}",
                    ),
                    worse_from=1,
                ),
                panel(
                    "Late and not ended",
                    (total("runstream_sla_late_executions", "sla_class"), "{{sla_class}}"),
                ),
            ),
        ),
        (
            "Time",
            (
                quantiles("From acceptance to end", "runstream_execution_seconds"),
                panel(
                    "95th percentile by SLA class",
                    (quantile(0.95, "runstream_execution_seconds", "sla_class"), "{{sla_class}}"),
                    unit="s",
                ),
                quantiles("From dispatch to claim", "runstream_step_queue_seconds"),
            ),
        ),
        (
            "Steps",
            (
                panel(
                    "Not succeeded in 30 minutes, by tool",
                    (
                        "topk(15, sum by (tool, status) (increase(runstream_steps_ended_total"
                        '{status!="succeeded"}[30m])))',
                        "{{tool}} {{status}}",
                    ),
                    kind="bargauge",
                ),
                panel(
                    "Retries a second",
                    (rate("runstream_step_retries_total", "tool"), "{{tool}}"),
                ),
                panel(
                    "Steps that wait",
                    (total("runstream_steps_waiting", "domain", "reason"), "{{domain}} {{reason}}"),
                    stacked=True,
                ),
            ),
        ),
        (
            "People and locks",
            (
                panel(
                    "Approvals in 10 minutes",
                    ("sum by (outcome) (increase(runstream_approvals_total[10m]))", "{{outcome}}"),
                ),
                panel(
                    "Oldest that waits for approval",
                    ("max(runstream_approval_oldest_seconds)", "oldest"),
                    unit="s",
                    worse_from=3_600,
                ),
                panel(
                    "Stuck",
                    (total("runstream_executions_stuck", "reason"), "{{reason}}"),
                    worse_from=1,
                ),
                panel(
                    "Assets locked, and waited for",
                    (total("runstream_locks_held"), "held"),
                    (total("runstream_locks_wanted"), "waited for"),
                ),
                panel(
                    "Answers of the lock keeper a second",
                    (rate("runstream_lock_answers_total", "answer"), "{{answer}}"),
                ),
                panel(
                    "Started by schedules and triggers in 10 minutes",
                    ("sum(increase(runstream_schedule_starts_total[10m]))", "schedules"),
                    (
                        'sum(increase(runstream_trigger_matches_total{outcome="started"}[10m]))',
                        "triggers",
                    ),
                ),
            ),
        ),
    ),
)
