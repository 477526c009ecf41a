"""For every tool that runs on a host: a call that changes nothing there, and one that fails.

In texts `{folder}` is the folder of `place.py`, `{closed}` a port at which nobody listens and
`{pid}` a process of root's. Where a call needs what is not there (an engine, a cluster, a program),
the class of its failure is what has to be the same over every login.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

Parameters = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """What is asked, and what the answers of two accounts of one machine may differ in."""

    good: Parameters
    #: The class with which `good` ends; empty where it succeeds, None where that depends on more
    #: than this table has.
    ends: str | None = ""
    bad: Parameters | None = None
    bad_ends: str = ""
    #: Fields that depend on the account or on the moment.
    varies: frozenset[str] = field(default_factory=frozenset)


def _call(
    good: Parameters,
    ends: str | None = "",
    *varies: str,
    bad: Parameters | None = None,
    bad_ends: str = "not_found",
) -> Call:
    return Call(good, ends, bad, bad_ends if bad is not None else "", frozenset(varies))


def _reads(good: Parameters, name: str = "path") -> Call:
    """A tool that reads a file; that a file may not be read is said by the same class."""
    more = {key: value for key, value in good.items() if key != name}
    return _call(
        {**more, name: "{folder}/numbers"},
        bad={**more, name: "{folder}/secret"},
        bad_ends="capability_missing",
    )


#: Of the moment; `uptime` also tells the clock of the login's own time zone.
_CLOCK: Final = (
    "time", "time_hour", "time_minute", "time_second", "uptime", "uptime_days", "uptime_hours",
    "uptime_minutes", "uptime_total_seconds",
)  # fmt: skip
_LOAD: Final = ("load_1m", "load_5m", "load_15m")
_TOP: Final = (
    "processes", "uptime_seconds", "memory_used_mib", "memory_free_mib", "memory_cached_mib",
    "memory_available_mib", "cpu_user_percent", "cpu_system_percent", "cpu_idle_percent",
    "cpu_wait_percent", "swap_used_mib",
)  # fmt: skip
_RTT: Final = ("rtt_min_ms", "rtt_avg_ms", "rtt_max_ms", "rtt_mdev_ms")

_AWS: Final = {
    "endpoint_url": "http://127.0.0.1:{closed}",
    "region": "eu-central-1",
    "access_key_id": "none",
    "secret_access_key": "none",
}
_ENGINE: Final = {"engine": "unix://{folder}/nobody.sock"}
_CLUSTER: Final = {"kubeconfig": "{folder}/kubeconfig"}
_CLOSED: Final = {"server": "127.0.0.1", "port": "{closed}"}
_REDIS: Final = {"server": "127.0.0.1", "port": "{redis}"}
_LOGIN: Final = {**_CLOSED, "user": "nobody", "password": "none"}
_GOOGLE: Final = {
    "config_dir": "{folder}",
    "project": "odd-project",
    "access_token": "none",
    "endpoint_url": "http://127.0.0.1:{closed}/",
}

LINUX: Final[dict[str, Call]] = {
    "at": _call({"operation": "list"}, bad={"operation": "show", "job": 999_999}),
    "awk": _call(
        {"program": "{ n += $2 } END { print n }", "paths": "{folder}/numbers"},
        bad={"program": "1", "paths": "{folder}/secret"},
        bad_ends="capability_missing",
    ),
    "cat": _reads({}),
    "chmod": _call(
        {"mode": "0600", "paths": "{folder}/secret"},
        "capability_missing",
        bad={"mode": "0600", "paths": "{folder}/gone"},
    ),
    "chown": _call(
        {"owner": "root", "paths": "{folder}/numbers"},
        "capability_missing",
        bad={"owner": "no-such-account", "paths": "{folder}/numbers"},
    ),
    "crontab": _call({"operation": "list"}, "not_found"),
    "cut": _reads({"fields": "1", "delimiter": " "}),
    "df": _call({"path": "/proc"}, bad={"path": "{folder}/gone"}),
    "du": _call({"path": "{folder}/tree"}, bad={"path": "{folder}/gone"}),
    "fail2ban_client": _call(
        {"operation": "ping", "socket": "{folder}/nobody.sock"}, "connection_refused"
    ),
    "find": _call({"path": "{folder}/tree"}, bad={"path": "{folder}/gone"}),
    "free": _call({}, "", "memory", "swap", "used_percent"),
    "grep": _call(
        {"pattern": "needle", "paths": "{folder}/tree", "recursive": True},
        bad={"pattern": "[", "paths": "{folder}/tree"},
        bad_ends="invalid_parameters",
    ),
    "head": _reads({"lines": 2}),
    "hostname": _call({}),
    "id": _call({"user": "root"}, bad={"user": "no-such-account"}),
    "ifconfig": _call({"interface": "lo"}, "", "interfaces", bad={"interface": "nosuch0"}),
    "iptables": _call({}, "capability_missing"),
    "journalctl": _call({"lines": 1}, "", bad={"since": "nonsense"}, bad_ends="invalid_parameters"),
    "kill": _call({"pids": ["{pid}"]}, "capability_missing"),
    "killall": _call({"names": ["no-such-process"]}, "not_found"),
    "ls": _call({"path": "{folder}/tree"}, bad={"path": "{folder}/gone"}),
    "lsb_release": _call({}),
    "nice": _call(
        {"program": "printf", "arguments": ["%s", "grün"]},
        bad={"program": "no-such-program"},
        bad_ends="program_missing",
    ),
    "openssl": _call(
        {"action": "certificate", "path": "{folder}/certificate.pem"},
        bad={**_CLOSED},
        bad_ends="connection_refused",
    ),
    "passwd": _call({"user": "no-such-account", "password": "none"}, "exit_status"),
    "pgrep": _call({"pattern": "no-such-process"}),
    "pkill": _call({"pattern": "no-such-process"}, "not_found"),
    "ps": _call({"pids": ["{pid}"]}, "", "processes"),
    "renice": _call({"pids": ["{pid}"], "niceness": 1}, "capability_missing"),
    "sed": _call(
        {"script": "s/a/b/", "paths": "{folder}/numbers"},
        bad={"script": "s/a", "paths": "{folder}/numbers"},
        bad_ends="invalid_parameters",
    ),
    "service": _call({"name": "no-such-service"}, "not_found"),
    "sort": _reads({"numeric": True, "key": 2}),
    "ssh_keygen": _call({"path": "{folder}/key.pub"}, bad={"path": "{folder}/gone"}),
    "sudo": _call({"program": "id"}, "login_refused"),
    "systemctl": _call({"action": "list"}, "connection_refused"),
    "systemd_timer": _call({"operation": "list"}, "connection_refused"),
    "tail": _reads({"lines": 2}),
    "top": _call({"pids": ["{pid}"]}, "", *_TOP, *_LOAD),
    "uname": _call({}),
    "uniq": _reads({}),
    "uptime": _call({}, "", *_CLOCK, *_LOAD),
    "useradd": _call({"name": "rs-odd-account"}, "capability_missing"),
    "usermod": _call({"name": "root", "comment": "odd"}, "capability_missing"),
    "whoami": _call({}, "", "user"),
}
NETWORK: Final[dict[str, Call]] = {
    "dig": _call({"name": "odd.test", **_CLOSED, "timeout": 1}, "connection_refused"),
    "host": _call({"name": "odd.test", **_CLOSED, "timeout": 1}, "connection_refused"),
    "ip": _call({"object": "link", "device": "lo"}, bad={"object": "link", "device": "nosuch0"}),
    "netstat": _call({"listening": True}, "", "sockets", "count"),
    "nslookup": _call({"name": "odd.test", **_CLOSED, "timeout": 1}, "connection_refused"),
    "ping": _call({"target": "127.0.0.1", "count": 1}, "", *_RTT),
    "ss": _call({"port": 1}),
    "traceroute": _call({"target": "127.0.0.1"}, "", "hops"),
}
CLIENTS: Final[dict[str, Call]] = {
    "mongodump": _call({**_CLOSED, "path": "{folder}/dump"}, "program_missing"),
    "mongosh": _call({**_CLOSED, "command": "ping"}, "program_missing"),
    "mysql": _call({**_LOGIN, "query": "select 1"}, "connection_refused"),
    "mysqlcheck": _call({**_LOGIN, "database": "odd"}, "connection_refused"),
    "mysqldump": _call({**_LOGIN, "database": "odd", "path": "/dev/null"}, "connection_refused"),
    "pg_dump": _call(
        {**_LOGIN, "database": "odd", "path": "/dev/null"},
        "connection_refused",
        bad={**_LOGIN, "database": "odd", "path": "{folder}/dump"},
        bad_ends="capability_missing",
    ),
    "pg_isready": _call({**_CLOSED}, "exit_status"),
    "pg_restore": _call({"operation": "list", "path": "{folder}/gone"}, "not_found"),
    "redis_benchmark": _call(
        {**_REDIS, "requests": 10, "clients": 1, "tests": ["ping"]}, "", "results"
    ),
    "redis_cli": _call(
        {**_REDIS, "command": "PING"},
        bad={**_CLOSED, "command": "PING"},
        bad_ends="connection_refused",
    ),
    "sqlite3": _call(
        {"path": "{folder}/state.db", "query": "select state from jobs order by id;"},
        bad={"path": "{folder}/state.db", "query": "select nothing from jobs;"},
        bad_ends="database",
    ),
}
DAEMONS: Final[dict[str, Call]] = {
    "collectd": _call({"path": "{folder}/collectd.conf"}, bad={"path": "{folder}/gone"}),
    "logrotate": _call({"operation": "check", "path": "{folder}/rotate.conf"}, "", "messages"),
    "rsyslog": _call(
        {"operation": "check_config", "path": "{folder}/rsyslog.conf"},
        bad={"operation": "check_config", "path": "{folder}/numbers"},
        bad_ends="invalid_parameters",
    ),
}
CONTAINERS: Final[dict[str, Call]] = {
    "crictl": _call({"command": "pods"}, "program_missing"),
    "docker": _call({**_ENGINE, "command": "ls"}, "connection_refused"),
    "docker_compose": _call({**_ENGINE, "files": "{folder}/compose.yaml"}, "connection_refused"),
    "docker_exec": _call({**_ENGINE, "container": "web", "argv": ["id"]}, "connection_refused"),
    "docker_inspect": _call({**_ENGINE, "names": "web"}, "connection_refused"),
    "docker_logs": _call({**_ENGINE, "container": "web"}, "connection_refused"),
    "docker_ps": _call({**_ENGINE}, "connection_refused"),
    "docker_stats": _call({**_ENGINE}, "connection_refused"),
    "helm": _call({"command": "list"}, "program_missing"),
    "helm_install": _call({"release": "web", "chart": "shop/web"}, "program_missing"),
    "helm_upgrade": _call({"release": "web", "chart": "shop/web"}, "program_missing"),
    "k9s": _call({**_CLUSTER, "view": "pods"}, "connection_refused"),
    "kubectl": _call({**_CLUSTER, "command": "version"}, "connection_refused"),
    "kubectl_describe": _call({**_CLUSTER, "resource": "pod", "name": "web"}, "connection_refused"),
    "kubectl_exec": _call({**_CLUSTER, "pod": "web", "argv": ["id"]}, "connection_refused"),
    "kubectl_get": _call({**_CLUSTER, "resource": "pods"}, "connection_refused"),
    "kubectl_logs": _call({**_CLUSTER, "pod": "web"}, "connection_refused"),
    "kubectx": _call({**_CLUSTER}),
    "kubens": _call({**_CLUSTER, "action": "current"}),
    "podman": _call({**_ENGINE, "command": "ls"}, "connection_refused"),
    "podman_ps": _call({**_ENGINE}, "connection_refused"),
}
CLOUDS: Final[dict[str, Call]] = {
    "aws": _call(
        {**_AWS, "service": "sts", "verb": "get", "noun": "caller-identity"}, "unreachable"
    ),
    "aws_ec2": _call(_AWS, "unreachable"),
    "aws_lambda": _call(_AWS, "unreachable"),
    "aws_rds": _call(_AWS, "unreachable"),
    "aws_s3": _call(_AWS, "unreachable"),
    "az": _call({"groups": ["vm"]}, "program_missing"),
    "az_storage": _call({"account": "odd", "container": "odd"}, "program_missing"),
    "az_vm": _call({}, "program_missing"),
    # Its first call makes a configuration, which an account without a home cannot.
    "gcloud": _call({"config_dir": "{folder}", "groups": ["config", "configurations"]}, None),
    "gcloud_compute": _call(_GOOGLE, None),
    "gcloud_storage": _call(_GOOGLE, None),
}

#: What is there already, so that they change nothing.
DAY_ONE: Final[dict[str, Call]] = {
    "archive": _call(
        {"sources": "{folder}/numbers", "path": "{folder}/gone/a.tar"},
        "not_found",
        bad={"sources": "{folder}/numbers", "path": "{folder}/a.rar"},
        bad_ends="invalid_parameters",
    ),
    "line_in_file": _call(
        {"path": "{folder}/numbers", "line": "b 2"},
        bad={"path": "{folder}/secret", "line": "b 2"},
        bad_ends="capability_missing",
    ),
    "rsync": _call(
        {"source": "{folder}/tree/", "destination": "{folder}/tree/"},
        bad={"source": "{folder}/gone", "destination": "{folder}/tree/"},
    ),
    "group": _call({"name": "root"}, bad={"name": "rs-odd-group"}, bad_ends="capability_missing"),
    "user": _call(
        {"name": "root", "home": "/root"}, bad={"name": "rs-odd"}, bad_ends="capability_missing"
    ),
    "unarchive": _call(
        {"path": "{folder}/gone", "destination": "{folder}/out", "creates": "{folder}/numbers"},
        bad={"path": "{folder}/secret", "destination": "{folder}/out"},
        bad_ends="capability_missing",
    ),
    "git_checkout": _call(
        {"repo": "http://127.0.0.1/a.git", "path": "{folder}/numbers", "ref": "0" * 40}, "conflict"
    ),
    "ansible_playbook": _call({"playbook": "{folder}/gone.yml", "hosts": "a"}, "not_found"),
    "terraform_plan": _call({"folder": "{folder}/gone", "plan_file": "{folder}/p"}, "not_found"),
    "terraform_apply": _call(
        {"folder": "{folder}/gone", "plan_file": "{folder}/gone/p", "sha256": "0" * 64},
        "not_found",
    ),
    "package": _call({"names": ["dpkg"]}, bad={"names": ["rs-no-such-package"]}),
}

CALLS: Final = {**LINUX, **NETWORK, **CLIENTS, **DAEMONS, **CONTAINERS, **CLOUDS, **DAY_ONE}
