"""Parse: the output of a program as structured data, by the name of a parser.

Names: our own (`df`, `ps` …, a module of `toolmeta.parsers` each), the general ones (`text`,
`lines`, `json`, `jsonl`, `key_value`, `field:<name>`, `json:<name>`), `jc:<name>` for the parsers
of the jc library, and `plugin:<name>` for those of other packages.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import jc

from streams import truncation
from toolmeta import parser_plugins
from toolmeta.parsers import (
    aws,
    azure,
    by_jc,
    cli_json,
    containers,
    daemons,
    databases,
    df,
    dig,
    disk_usage,
    find,
    general,
    google,
    grep,
    hosts,
    journal,
    kubernetes,
    logrotate,
    lookup,
    ls,
    masscan,
    metrics,
    neighbours,
    ngrep,
    nslookup,
    openssl,
    ping,
    processes,
    ps,
    schedules,
    ss,
    systemctl,
    traceroute,
    traces,
)

#: Entries of a list and characters of a text that an output keeps; an output is part of an event.
MAX_ENTRIES: Final = 1_000
MAX_TEXT: Final = 65_536

Parser = Callable[[str], dict[str, Any]]
#: One whose fields depend on when the program ran.
TimedParser = Callable[[str, datetime | None], dict[str, Any]]

_PARSERS: Final[dict[str, Parser]] = {
    "arp_scan": neighbours.arp_scan,
    "at": schedules.at,
    "aws_ec2": aws.ec2,
    "aws_lambda": aws.functions,
    "aws_rds": aws.rds,
    "aws_s3": aws.s3,
    "az_storage": azure.storage,
    "az_vm": azure.machines,
    "cli_json": cli_json.parse,
    "cli_json_rows": cli_json.parse_rows,
    "config_check": daemons.config_check,
    "crontab": schedules.crontab,
    "df": df.parse,
    "dig": dig.parse,
    "docker_compose": containers.compose,
    "docker_inspect": containers.docker_inspect,
    "docker_ps": containers.docker_ps,
    "docker_stats": containers.docker_stats,
    "du": disk_usage.parse,
    "fail2ban": hosts.fail2ban,
    "find": find.parse,
    "fluentd": daemons.fluentd,
    "free": by_jc.free,
    "gcloud": google.parse,
    "grep": grep.parse,
    "helm_release": kubernetes.helm_release,
    "host": lookup.parse,
    "http_api": daemons.http_api,
    "ifconfig": by_jc.ifconfig,
    "iptables": hosts.iptables,
    "jaeger": traces.jaeger,
    "journal": journal.parse,
    "json": general.json,
    "jsonl": general.jsonl,
    "key_value": general.key_value,
    "killed": processes.killed,
    "kubectl_describe": kubernetes.describe,
    "kubectl_get": kubernetes.get,
    "lines": general.lines,
    "logrotate": logrotate.parse,
    "ls": ls.parse,
    "lsb_release": by_jc.lsb_release,
    "masscan": masscan.parse,
    "metrics": metrics.metrics,
    "mongodump": databases.mongodump,
    "mongosh": databases.mongosh,
    "mysql": databases.mysql,
    "mysqlcheck": databases.mysqlcheck,
    "netdiscover": neighbours.netdiscover,
    "netstat": by_jc.netstat,
    "ngrep": ngrep.parse,
    "nslookup": nslookup.parse,
    "pg_restore": databases.pg_restore,
    "pgrep": processes.pgrep,
    "ping": ping.parse,
    "podman_ps": containers.podman_ps,
    "probe": metrics.probe,
    "prometheus": metrics.prometheus,
    "ps": ps.parse,
    "redis": databases.redis,
    "redis_benchmark": databases.redis_benchmark,
    "renice": processes.renice,
    "report": general.report,
    "service": hosts.service,
    "sqlite": databases.sqlite,
    "ss": ss.parse,
    "ssh_keygen": hosts.ssh_keygen,
    "systemctl": systemctl.parse,
    "telegraf": metrics.telegraf,
    "text": general.text,
    "timers": schedules.timers,
    "top": processes.top,
    "traceroute": traceroute.parse,
    "uniq": hosts.uniq,
    "zipkin": traces.zipkin,
}
_TIMED: Final[dict[str, TimedParser]] = {"openssl": openssl.parse}


class ParseError(Exception):
    """The output is not what its parser expects; the message is one sentence."""


def known(name: str) -> bool:
    """Whether there is a parser of this name."""
    family, _, rest = name.partition(":")
    if not rest:
        return name in _PARSERS or name in _TIMED
    if family == "jc":
        return rest in jc.parser_mod_list()
    if family == "plugin":
        return parser_plugins.known(rest)
    return family in ("field", "json")


def parse(
    name: str | None, stdout: str, exit_code: int, now: datetime | None = None
) -> dict[str, Any]:
    """The output of a step: `exit_code` and what the parser found; without a parser the text.

    Lists are cut at 1,000 entries and text at 64 Ki characters, and `truncated_fields` says so.
    Without `now` fields that tell how far a time is away are left out. Raises `ParseError`.
    """
    try:
        found = _parse(name or "text", stdout, now)
    except ParseError:
        raise
    except parser_plugins.PluginError as error:
        raise ParseError(f"The output cannot be parsed: {error}.") from error
    # Programs of any version may write anything; jc documents no exception class.
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"[:300]
        raise ParseError(f"The output is not what {name} expects ({reason}).") from error
    output: dict[str, Any] = {"exit_code": exit_code, **found}
    for key, value in found.items():
        most = MAX_ENTRIES if isinstance(value, list) else MAX_TEXT
        if isinstance(value, list | str) and len(value) > most:
            output[key] = value[:most]
            truncation.mark(output, truncation.part_of("", key), most, len(value))
    return output


def _parse(name: str, stdout: str, now: datetime | None) -> dict[str, Any]:
    timed = _TIMED.get(name)
    if timed is not None:
        return timed(stdout, now)
    own = _PARSERS.get(name)
    if own is not None:
        return own(stdout)
    family, _, rest = name.partition(":")
    if family == "field":
        return {rest: stdout.strip()}
    if family == "json":
        return {rest: general.json(stdout)["data"]}
    if family == "plugin":
        return parser_plugins.load(rest)(stdout)
    if family == "jc":
        found = jc.parse(rest, stdout, quiet=True)
        if isinstance(found, dict):
            return dict(found)
        items = list(found)
        return {"items": items, "count": len(items)}
    raise ParseError(f"There is no parser {name}.")
