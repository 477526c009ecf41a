"""Executors: slots, claims, attempts, leases."""

from __future__ import annotations

from typing import Final

from deploy.grafana.panels import Dashboard, panel
from deploy.grafana.queries import quantile, quantiles, rate, total

EXECUTORS: Final = Dashboard(
    "runstream-executors",
    "Runstream: executors and lanes",
    (
        (
            "Slots",
            (
                panel(
                    "Slots in use",
                    (
                        "sum by (domain, lane) (runstream_executor_running) "
                        "/ sum by (domain, lane) (runstream_executor_slots)",
                        "{{domain}} {{lane}}",
                    ),
                    unit="percentunit",
                    worse_from=1,
                ),
                panel(
                    "Not claimed",
                    (total("runstream_steps_queued", "domain"), "{{domain}}"),
                    stacked=True,
                ),
                panel(
                    "Oldest that is not claimed",
                    ("max by (domain) (runstream_step_queue_oldest_seconds)", "{{domain}}"),
                    unit="s",
                    worse_from=300,
                ),
            ),
        ),
        (
            "Claims",
            (
                panel(
                    "Claims a second",
                    (rate("runstream_executor_claims_total", "decision"), "{{decision}}"),
                    stacked=True,
                ),
                quantiles("Claim time", "runstream_executor_claim_seconds"),
                panel(
                    "Lag in commands",
                    (
                        total(
                            'runstream_consumer_lag_records{group=~"runstream-executor.*"}', "group"
                        ),
                        "{{group}}",
                    ),
                ),
            ),
        ),
        (
            "Attempts",
            (
                panel(
                    "Attempts a second, by tool",
                    (
                        f"topk(15, {rate('runstream_executor_step_seconds_count', 'tool')})",
                        "{{tool}}",
                    ),
                ),
                panel(
                    "Slowest tools, 95th percentile",
                    (
                        f"topk(15, {quantile(0.95, 'runstream_executor_step_seconds', 'tool')})",
                        "{{tool}}",
                    ),
                    unit="s",
                ),
                panel(
                    "Attempts by status a second",
                    (rate("runstream_executor_step_seconds_count", "status"), "{{status}}"),
                    stacked=True,
                ),
            ),
        ),
        (
            "Leases",
            (
                panel(
                    "Leases",
                    (total("runstream_leases", "domain"), "{{domain}}"),
                    (total("runstream_leases_near_expiry", "domain"), "{{domain}} near expiry"),
                ),
                panel(
                    "Leases lost in 10 minutes",
                    ("sum by (domain) (increase(runstream_leases_lost_total[10m]))", "{{domain}}"),
                    worse_from=1,
                ),
                panel(
                    "Results that the broker does not have",
                    ("runstream_executor_unreported_results", "{{instance}}"),
                    worse_from=1,
                ),
            ),
        ),
    ),
)
