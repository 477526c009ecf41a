"""Calls whose effect is `read` change nothing and run nothing of the caller's."""

from __future__ import annotations

from typing import Any

import pytest

from toolmeta import registry
from toolmeta.bind import bind
from toolmeta.check import check
from toolmeta.effects import Effect
from toolmeta.model import Tool
from toolmeta.risk import action_class_of, approval_required, effect_of

Parameters = dict[str, Any]


def tool_of(name: str) -> Tool:
    tool = registry.load().get(name)
    assert tool is not None, name
    return tool


#: The path names a file that the program takes code, plug-ins or the server's address from.
CONFIGURED: list[tuple[str, Parameters, str, Any]] = [
    *(
        (name, parameters, "kubeconfig", "/dev/stdin")
        for name, parameters in (
            ("kubectl", {"command": "get", "arguments": ["pods"]}),
            ("kubectl_get", {"resource": "pods"}),
            ("kubectl_describe", {"resource": "pods", "name": "web"}),
            ("kubectl_logs", {"pod": "web"}),
            ("k9s", {}),
            ("kubectx", {}),
            ("kubens", {}),
            ("helm", {"command": "list"}),
        )
    ),
    *(
        (name, parameters, "engine", "unix:///tmp/engine.sock")
        for name, parameters in (
            ("docker", {}),
            ("docker_ps", {}),
            ("docker_logs", {"container": "web"}),
            ("docker_stats", {}),
            ("docker_inspect", {"names": ["web"]}),
            ("podman", {}),
            ("podman_ps", {}),
        )
    ),
    ("crictl", {}, "runtime_endpoint", "unix:///tmp/engine.sock"),
    ("rsyslog", {}, "path", "/tmp/rsyslog.conf"),
    ("rsyslog", {}, "config", "/tmp/rsyslog.conf"),
    ("rsyslog", {}, "path", "{{ steps.a.output.text }}"),
    ("logrotate", {}, "path", "/tmp/logrotate.conf"),
    ("logrotate", {}, "state", "/tmp/state"),
    ("fail2ban_client", {}, "socket", "/tmp/fail2ban.sock"),
    ("fail2ban_client", {"operation": "check_config"}, "config_dir", "/tmp/fail2ban"),
    ("systemd_timer", {"operation": "list_files"}, "root", "/tmp/root"),
    ("az", {"groups": ["vm"]}, "config_dir", "/tmp/azure"),
    ("az_vm", {}, "config_dir", "/tmp/azure"),
    ("az_storage", {"action": "list-containers"}, "config_dir", "/tmp/azure"),
    ("gcloud", {"groups": ["projects"]}, "config_dir", "/tmp/gcloud"),
    ("gcloud_compute", {}, "config_dir", "/tmp/gcloud"),
    ("gcloud_storage", {}, "config_dir", "/tmp/gcloud"),
]


@pytest.mark.parametrize(("name", "parameters", "parameter", "value"), CONFIGURED)
def test_a_configuration_or_socket_of_the_caller_destroys(
    name: str, parameters: Parameters, parameter: str, value: Any
) -> None:
    tool = tool_of(name)
    assert effect_of(tool, parameters) == "read"
    own = {**parameters, parameter: value}
    assert not check(tool, own, references_allowed=True)
    assert effect_of(tool, own) == "destroy"
    assert action_class_of(tool, own) != "read"
    assert approval_required(tool, own, "prod")


@pytest.mark.parametrize(
    ("name", "parameters", "parameter"),
    [
        ("aws", {"service": "ec2", "noun": "instances"}, "endpoint_url"),
        ("aws_ec2", {}, "endpoint_url"),
        ("aws_lambda", {}, "endpoint_url"),
        ("aws_rds", {}, "endpoint_url"),
        ("aws_s3", {}, "endpoint_url"),
        ("gcloud_compute", {}, "endpoint_url"),
        ("gcloud_storage", {}, "endpoint_url"),
        ("get_aduser", {"identity": "jdoe"}, "server"),
        ("get_adgroup", {"identity": "ops"}, "server"),
        ("get_adgroupmember", {"identity": "ops"}, "server"),
        ("get_adcomputer", {"identity": "web-01"}, "server"),
    ],
)
def test_a_login_sent_to_an_address_of_the_caller_is_no_read(
    name: str, parameters: Parameters, parameter: str
) -> None:
    tool = tool_of(name)
    assert effect_of(tool, parameters) == "read"
    elsewhere = {**parameters, parameter: "https://collector.example.org"}
    assert effect_of(tool, elsewhere) == "modify"
    assert action_class_of(tool, elsewhere) != "read"
    assert approval_required(tool, elsewhere, "prod")


@pytest.mark.parametrize(
    ("name", "parameters", "effect"),
    [
        ("psql", {"query": "select pg_terminate_backend(1)"}, "modify"),
        ("psql", {"query": "select lo_export(1, '/var/lib/x')"}, "modify"),
        ("psql", {"query": "drop table t", "write": True}, "destroy"),
        ("mysql", {"query": "set session transaction read write; drop table t"}, "destroy"),
        ("mysqlcheck", {}, "modify"),
        ("collectd", {"path": "/tmp/collectd.conf"}, "destroy"),
        ("helm", {"command": "template", "arguments": ["web", "https://x.example.org"]}, "modify"),
        ("docker_compose", {"command": "ps", "files": ["/tmp/compose.yaml"]}, "destroy"),
        ("docker_compose", {"command": "ps", "project_directory": "/tmp"}, "destroy"),
        ("at", {"operation": "schedule", "time": "now", "script": "id"}, "destroy"),
        ("schtasks", {"action": "create"}, "destroy"),
        ("register_scheduledtask", {}, "destroy"),
        ("docker_exec", {"container": "web", "argv": ["rm", "-r", "/"]}, "destroy"),
        ("kubectl_exec", {"pod": "web", "argv": ["rm", "-r", "/"]}, "destroy"),
        ("psql", {"query": "select pg_read_file('/etc/passwd')"}, "modify"),
        # A module of the operator's own may hold a login, which the target then gets.
        ("blackbox_exporter", {"probe_target": "x.example.org", "module": "http_login"}, "modify"),
        *(
            (name, {"url": "https://x.example.org", **given}, "modify")
            for name in ("curl", "invoke_webrequest")
            for given in (
                {"headers": {"X-HTTP-Method-Override": "DELETE"}},
                {"headers": {"x-http-method": "PUT"}},
                {"headers": {"X-METHOD-OVERRIDE ": "PATCH"}},
                {"headers": {"X_HTTP_Method_Override": "{{ steps.a.output.method }}"}},
                {"headers": "{{ steps.a.output.headers }}"},
                {"body": "x"},
            )
        ),
        ("curl", {"url": "https://x.example.org", "json": {"delete": True}}, "modify"),
        ("curl", {"url": "https://x.example.org", "form": {"_method": "DELETE"}}, "modify"),
        ("curl", {"url": "https://x.example.org", "method": "HEAD", "data": "x"}, "modify"),
    ],
)
def test_the_effect_is_what_the_program_can_do(
    name: str, parameters: Parameters, effect: Effect
) -> None:
    tool = tool_of(name)
    assert effect_of(tool, parameters) == effect
    assert approval_required(tool, parameters, "prod")


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("curl", {"url": "https://x.example.org", "headers": {"X-Request-ID": "1"}}),
        ("curl", {"url": "https://x.example.org", "headers": {}}),
        ("invoke_webrequest", {"url": "https://x.example.org", "headers": {"Accept": "*/*"}}),
        ("blackbox_exporter", {"probe_target": "x.example.org"}),
        ("blackbox_exporter", {"probe_target": "x.example.org:22", "module": "tcp_connect"}),
    ],
)
def test_what_changes_nothing_stays_a_read(name: str, parameters: Parameters) -> None:
    assert effect_of(tool_of(name), parameters) == "read"


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("chmod", {}),
        ("chown", {}),
        ("systemctl", {"action": "stop", "unit": "ssh"}),
        ("curl", {"url": "https://x.example.org", "method": "DELETE"}),
        ("invoke_webrequest", {"url": "https://x.example.org", "method": "Delete"}),
        ("pg_dump", {"path": "/etc/passwd", "database": "shop"}),
        ("mysqldump", {"path": "/etc/passwd", "database": "shop"}),
        ("mongodump", {"path": "/etc/passwd"}),
    ],
)
def test_a_change_needs_approval_in_prod(name: str, parameters: Parameters) -> None:
    assert approval_required(tool_of(name), parameters, "prod")


AWS = {"service": "ssm", "verb": "get", "noun": "parameter"}
VMS = {"groups": ["vm"]}
QUERY = {"path": "/srv/jobs.db"}

REFUSED: list[tuple[str, Parameters]] = [
    # A word that is no option is the output file of an operation that streams.
    ("aws", {"service": "apigateway", "verb": "get", "noun": "sdk-type", "arguments": ["/x"]}),
    ("aws", {**AWS, "arguments": ["--name", "/etc/cron.d/x"]}),
    *(
        ("aws", {**AWS, "arguments": [option]})
        for option in (
            "--with-decryption", "--with", "--w", "--endpoint-url=x", "--endpoint-u=x", "--en=x",
            "--profile=x", "--prof=x", "--no-verify-ssl", "--no-ver", "--no-sign-request",
            "--ca-bundle=x", "--ca=x", "--cli-input-json=x", "--cli", "--debug", "--deb",
            "--generate-cli-skeleton", "--gen", "--outfile=x", "--save-as=/etc/x", "--save=/x",
        )
    ),
    ("aws", {"service": "ecr", "verb": "get", "noun": "login"}),
    ("aws", {"service": "stepfunctions", "verb": "get", "noun": "activity-task"}),
    # What these answer is a login.
    *(
        ("aws", {"service": "redshift", "verb": verb, "noun": noun})
        for verb, noun in (
            ("get", "cluster-credentials"), ("get", "cluster-credentials-with-iam"),
            ("get", "credentials"), ("get", "credentials-for-identity"), ("get", "open-id-token"),
            ("get", "open-id-token-for-developer-identity"), ("get", "role-credentials"),
            ("get", "temporary-glue-table-credentials"), ("get", "federation-token"),
            ("get", "instance-access-details"), ("get", "instance-access"),
            ("get", "bucket-access-keys"), ("get", "data-access"), ("get", "compute-access"),
            ("get", "compute-auth-token"), ("get", "relational-database-master-user-password"),
            ("get", "password-data"), ("get", "random-password"), ("batch-get", "secret-value"),
            ("create", "service-specific-credential"), ("create", "login-profile"),
            ("describe", "user-pool-client"), ("get", "dashboard-embed-url"),
        )
    ),
    *(
        ("aws", {"service": "apigateway", "verb": "get", "noun": "x", "arguments": [option]})
        for option in ("--include-values", "--include-value", "--include-v", "--include", "--i")
    ),
    # The login of the machine, sent to a server of the caller's.
    *(
        ("az", {"groups": ["storage", "blob"], "arguments": arguments})
        for arguments in (
            ["--endpoint=https://x.example.org"], ["--endpoint", "x.example.org"],
            ["--endp=x.example.org"], ["--blob-endpoint=x.example.org"], ["--blob-end=x"],
            ["--queue-endpoint", "x"], ["--account-url=x.example.org"], ["--account-u=x"],
            ["--account-endpoint=x"], ["--blob-url=x"], ["--source-uri=x"], ["--suffix=x"],
            ["--suf=x"], ["--vault-baseurl=x"], ["--id", "https://x.example.org/keys/k"],
            ["--connection-s=BlobEndpoint=x"], ["--organization=https://x.example.org"],
            ["--kube-config=/tmp/x"], ["--kube-context=x"], ["-u", "https://x.example.org"],
        )
    ),
    *(
        ("az", {"groups": groups})
        for groups in (
            ["search", "admin-key"], ["search", "query-key"], ["staticwebapp", "secrets"],
            ["network", "vpn-connection", "shared-key"], ["grafana", "api-key"],
        )
    ),
    *(
        ("gcloud", {"groups": ["run", "services"], "arguments": arguments})
        for arguments in (
            ["--kubeconfig=/tmp/x", "--platform=kubernetes"], ["--kubeconfig", "/tmp/x"],
            ["--kube=/tmp/x"], ["--platform=kubernetes"], ["--plat=gke"], ["--context=x"],
            ["--cont", "x"], ["--universe-domain=x.example.org"], ["--uni=x"],
            ["--credential-file-override=/tmp/x"], ["--api-endpoint=x"], ["--server=x"],
            ["--region=x.example.org/"], ["--region", "x.example.org/"], ["--reg=x.example.org#"],
            ["--location=x.example.org/"], ["--zone=x?"], ["--z", "x?"],
            ["https://x.example.org/v1/projects/p/locations/eu/services/s"],
            ["projects/p/locations/x.example.org#/services/s"],
            ["--log-http-request-body"],
        )
    ),
    # It loads a shared library: OpenSSL takes the path for a name in a store of that engine.
    *(
        ("openssl", {"action": "certificate", "path": path})
        for path in (
            "org.openssl.engine:/tmp/e.so:x", "pkcs11:object=x", "ORG.openssl.engine:x",
            "file:/tmp/x", "x.pem", "./org.openssl.engine:x",
        )
    ),
    ("openssl", {"server": "x.example.org", "ca_file": "org.openssl.engine:/tmp/e.so:x"}),
    # A share of the caller's gets the login of the machine.
    *(
        (name, {"host": "w", "path": path})
        for name in ("test_path", "get_acl", "get_filehash")
        for path in (
            r"\\x\s\f", "//x/s/f", r"\/x\s", r"FileSystem::\\x\s\f", "FileSystem:://x/s",
            r"Microsoft.PowerShell.Core\FileSystem::C:\f", r" \\x\s", r"C:\a\\x\s",
            r"SQLSERVER:\SQL\x\default", r"AD:\DC=x", r"WSMan:\x", r"\\.\pipe\x",
        )
    ),
    *(
        ("gcloud", {"groups": ["projects"], "arguments": [option]})
        for option in (
            "--log-http", "--log-h", "--flags-file=/x", "--flags=/x", "--fl=/x", "--imp=x",
            "--account=x", "--acc=x", "--configuration=x", "--conf=x", "--access-token-f=/x",
            "--verb=debug", "--trace-t=x", "--user-o=x",
        )
    ),
    *(
        ("az", {**VMS, "arguments": [option]})
        for option in ("--debug", "--d", "--verb", "--output=x", "--outp=x", "--file=/x", "--fil=x")
    ),
    *(
        (name, {"object": "container", "command": "run", "arguments": [option, "web"]})
        for name in ("docker", "podman")
        for option in (
            "--network=host", "--network=name=host", "--network=name=host,alias=x",
            "--network=alias=x,name=host", "--network=container:web", "--network=ns:/proc/1/ns/net",
            "--network=HOST",
        )
    ),
    *(
        ("sqlite3", {**QUERY, "query": query})
        for query in (
            ".trace /etc/passwd\nselect 1;", "select 1;\n.testcase\nselect 2;",
            "-- a\n .trace /x\nselect 1;", "select data from fsdir('/etc/shadow')",
            'select data from "FsDir"(\'/etc/shadow\')', ".shell id", "\n\n.output /x",
            "create virtual table temp.z using zipfile('/etc/x')", "select ZIPFILE('a', 1)",
        )
    ),
    *(
        (name, {"program": program}) for name in ("nice", "sudo")
        for program in ("-u", "--shell", "A=b", "a b", "id;id", "\u200bid")
    ),
    ("get_wmiobject", {"host": "w", "class": "Win32_Product"}),
    # Whoever asks for these, or for a class above them, has Windows check and repair every package.
    *(
        ("get_wmiobject", {"host": "w", "class": name})
        for name in (
            "WIN32_PRODUCT", "CIM_Product", "cim_product", "Win32_SoftwareFeature",
            "CIM_SoftwareFeature", "Win32_SoftwareElement", "CIM_SoftwareElement",
            "Win32_ProductCheck", "Win32_ProductResource", "Win32_ProductSoftwareFeatures",
            "Win32_InstalledSoftwareElement", "Win32_SoftwareFeatureSoftwareElements",
            "CIM_LogicalElement", "CIM_ManagedSystemElement", "CIM_ManagedElement",
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "parameters"), REFUSED)
def test_refused(name: str, parameters: Parameters) -> None:
    assert isinstance(bind(tool_of(name), parameters), list)
    assert check(tool_of(name), parameters, references_allowed=True)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("aws", {**AWS, "arguments": ["--name=/shop/url", "--max-items=10", "--no-paginate"]}),
        ("aws", {"service": "ec2", "noun": "x", "arguments": ["--end-time=1", '--ids=["a","b"]']}),
        ("gcloud", {"groups": ["projects"], "arguments": ["--filter=name:x", "--limit=3"]}),
        ("gcloud", {"groups": ["run", "services"], "arguments": ["--region=europe-west3"]}),
        ("gcloud", {"groups": ["compute", "disks"], "arguments": ["--zones=a-b,c-d", "web"]}),
        ("gcloud", {"groups": ["a"], "arguments": ["projects/p/locations/eu-w3/services/s"]}),
        ("az", {**VMS, "arguments": ["--resource-group", "shop"]}),
        ("az", {**VMS, "arguments": ["--ids", "/subscriptions/s/resourceGroups/g", "--enable-x"]}),
        ("az", {"groups": ["network", "private-endpoint"]}),
        ("aws", {"service": "iam", "verb": "get", "noun": "account-password-policy"}),
        ("aws", {"service": "iam", "verb": "get", "noun": "credential-report"}),
        ("aws", {"service": "iam", "verb": "get", "noun": "access-key-last-used"}),
        ("aws", {"service": "ec2", "noun": "instances", "arguments": ["--instance-ids=i-0abc"]}),
        ("openssl", {"action": "certificate", "path": "/etc/ssl/certs/x.pem"}),
        ("test_path", {"host": "w", "path": r"C:\inetpub\wwwroot\index.html"}),
        ("get_acl", {"host": "w", "path": r"HKLM:\SOFTWARE\x"}),
        ("get_acl", {"host": "w", "path": r"cert:\LocalMachine\My"}),
        ("test_path", {"host": "w", "path": "inetpub/wwwroot"}),
        ("get_filehash", {"host": "w", "paths": ["D:/x.iso", r"\Windows\notepad.exe"]}),
        ("docker", {"command": "run", "arguments": ["--network=shop_default", "web"]}),
        ("sqlite3", {**QUERY, "query": "select 1.5,\n  a.b\nfrom a;\n\nselect '.x'"}),
        ("nice", {"program": "/usr/bin/gzip", "arguments": ["-k", "/srv/x"]}),
        ("sudo", {"program": "apt-get", "arguments": ["update"]}),
        ("get_wmiobject", {"host": "w", "class": "Win32_ComputerSystemProduct"}),
        ("get_wmiobject", {"host": "w", "class": "CIM_LogicalDisk"}),
    ],
)
def test_accepted(name: str, parameters: Parameters) -> None:
    found = bind(tool_of(name), parameters)
    assert not isinstance(found, list), found


@pytest.mark.parametrize(
    "tool", [tool for tool in registry.load().all() if tool.domain == "automation"],
    ids=lambda tool: tool.name,
)  # fmt: skip
def test_what_is_no_read_needs_approval_in_prod(tool: Tool) -> None:
    worst = {tool.risk.effect, *tool.risk.raised_by.values()}
    assert worst == {"read"} or "prod" in tool.risk.approval_in
