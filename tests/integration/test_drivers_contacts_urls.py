"""URLs and configurations of a program: checked before it starts, and reached by the proxy only."""

from __future__ import annotations

import os
import socket
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from drivers import contacts
from drivers.context import Failure, Success
from tests.driver_kit import PYTHON
from tests.integration.contacts_lab import (
    REFUSED,
    bound,
    call_of,
    checked_here,
    echoed,
    outcome_of,
)
from toolmeta.bind import bind
from toolmeta.invocation import Invocation
from toolmeta.model import Tool
from toolmeta.registry import load

#: Every parameter that chooses peers by a URL.
URLS = [
    (tool, name)
    for tool in load().all()
    for name in tool.run.contacts.proxied
    if name not in ("kubeconfig", "config_dir")
]
KUBECONFIGS = [tool for tool in load().all() if "kubeconfig" in tool.run.contacts.proxied]


def refusal(invocation: Invocation) -> str | None:
    found = checked_here(invocation)
    return found.error_class if isinstance(found, Failure) else None


def reached_env(invocation: Invocation) -> dict[str, str]:
    found = checked_here(invocation)
    assert isinstance(found, contacts.Checked)
    return found.invocation.env


@pytest.mark.parametrize(("tool", "name"), URLS, ids=lambda item: getattr(item, "name", item))
def test_inner_urls_are_refused_before_the_program_starts(tool: Tool, name: str) -> None:
    assert {item.name for item, _ in URLS} >= {"aws", "gcloud_compute", "helm_install"}
    for host in REFUSED.split():
        written = f"[{host}]" if ":" in host else host
        invocation = call_of(tool, name, f"http://{written}:8080/a")
        if not isinstance(invocation, Invocation):
            continue
        outcome = outcome_of(echoed(invocation))
        assert isinstance(outcome, Failure), host
        assert outcome.error_class == "refused_address", (host, outcome)


@pytest.mark.parametrize("tool", KUBECONFIGS, ids=lambda item: str(item.name))
def test_a_kubeconfig_of_the_callers_leads_to_checked_servers_only(
    tool: Tool, tmp_path: Path
) -> None:
    file = tmp_path / "kubeconfig"
    invocation = bind(tool, {**tool.example.parameters, "kubeconfig": str(file)})
    assert isinstance(invocation, Invocation)
    for key, url in [("server", "https://127.0.0.1:6443"), ("proxy-url", "http://10.0.0.1:3128")]:
        file.write_text(f"clusters: [{{name: a, cluster: {{{key}: '{url}'}}}}]")
        assert refusal(invocation) == "refused_address"
    for text in ("a: [", "clusters: 7"):
        file.write_text(text)
        assert refusal(invocation) == "invalid_parameters"
    file.write_text("clusters: [{name: a, cluster: {server: 'https://1.1.1.1:6443'}}]")
    assert refusal(invocation) is None
    both = bind(tool, {**tool.example.parameters, "kubeconfig": f"/nowhere:{tmp_path}/inner"})
    (tmp_path / "inner").write_text("clusters: [{cluster: {server: 'http://[::1]/'}}]")
    if isinstance(both, Invocation):
        assert refusal(both) == "refused_address"
    device = bind(tool, {**tool.example.parameters, "kubeconfig": "/dev/null"})
    if isinstance(device, Invocation):
        assert refusal(device) == "invalid_parameters"


@pytest.mark.parametrize(
    "path", ["/dev/stdin", "/dev/fd/0", "/proc/self/fd/0", "/tmp/../dev//stdin", "/dev/./stdin"]
)
@pytest.mark.parametrize("name", ["kubectl", "kubectl_get", "helm"])
def test_the_kubeconfig_of_a_program_is_not_its_standard_input(
    name: str, path: str, tmp_path: Path
) -> None:
    """What is read to check it is another file than what the program gets: a manifest of the plan,
    which can have it start a program."""
    checked = tmp_path / "stdin"
    checked.write_text("clusters: [{name: a, cluster: {server: 'https://1.1.1.1:6443'}}]")
    tool = load().get(name)
    assert tool is not None
    invocation = bind(tool, {**tool.example.parameters, "kubeconfig": path})
    assert isinstance(invocation, Invocation)
    before = os.dup(0)
    try:
        with checked.open() as file:
            os.dup2(file.fileno(), 0)
        assert refusal(invocation) == "invalid_parameters"
    finally:
        os.dup2(before, 0)
        os.close(before)


def test_a_program_that_takes_urls_gets_the_proxy_and_only_then() -> None:
    asked = bound("aws", {"service": "sts", "noun": "caller-identity", "verb": "get"})
    assert "HTTPS_PROXY" not in reached_env(asked)
    elsewhere = bound(
        "aws",
        {"service": "sts", "noun": "caller-identity", "verb": "get",
         "endpoint_url": "https://1.1.1.1/"},
    )  # fmt: skip
    env = reached_env(elsewhere)
    assert env["HTTPS_PROXY"] == env["http_proxy"] == env["all_proxy"]
    assert env["HTTPS_PROXY"].startswith("http://step:")
    assert env["NO_PROXY"] == ""


_TRIES = """
import os, socket, sys, urllib.parse
def says(port, text):
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as peer:
            peer.sendall(text)
            return peer.recv(4096).split(b"\\r\\n")[0].decode()
    except OSError as error:
        return "refused"
proxy = urllib.parse.urlsplit(os.environ["HTTP_PROXY"]).port
print(os.getuid(), says(int(sys.argv[1]), b""), says(proxy, b"GET http://a/ HTTP/1.1\\r\\n\\r\\n"),
      sep="|")
"""


@pytest.mark.parametrize("own_user", [True, False])
def test_a_program_with_a_proxy_has_no_other_way_out(tmp_path: Path, own_user: bool) -> None:
    """It does not heed the proxy: a server of this machine is not there for it, the proxy is."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        server.settimeout(0.1)
        file = tmp_path / "kubeconfig"
        file.write_text("clusters: []")
        definition = load().get("kubectl_get")
        assert definition is not None
        invocation = bind(definition, {"resource": "pods", "kubeconfig": str(file)})
        assert isinstance(invocation, Invocation)
        words = (PYTHON, "-I", "-S", "-c", _TRIES, str(port))
        other = replace(invocation, argv=words, parser="field:text")
        users = set() if own_user else {definition.name}
        outcome = outcome_of(other, root_tools=users, config_folders=str(tmp_path))
        assert isinstance(outcome, Success), outcome
        uid, there, proxy = outcome.output["text"].strip().split("|")
        if os.geteuid() == 0:
            assert (uid != "0") is own_user
        assert proxy == "HTTP/1.1 407 Proxy Authentication Required"
        try:
            server.accept()
        except TimeoutError:
            assert there == "refused"
        else:
            pytest.skip("network namespaces cannot be made here")


#: As a dispatcher in Go does, whose main thread ends with it: the first program is gone then.
_FROM_A_THREAD = """
import os, sys, threading
words = [sys.executable, "-I", "-S", "-c", *sys.argv[1:]]
threading.Thread(target=os.execv, args=(sys.executable, words)).start()
"""


@pytest.mark.parametrize("own_user", [True, False])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("begins", [(), (_FROM_A_THREAD,)], ids=["itself", "by-another"])
def test_a_server_on_loopback_that_the_credentials_name_is_reached(
    tmp_path: Path, host: str, own_user: bool, begins: tuple[str, ...]
) -> None:
    """Programs in Go never use a proxy for loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        port, file = server.getsockname()[1], tmp_path / "kubeconfig"

        def serve() -> None:
            with server.accept()[0] as peer:
                assert peer.recv(100) == b"GET http://a/ HTTP/1.1\r\n\r\n"
                peer.sendall(b"reached\r\n")

        served = threading.Thread(target=serve)
        served.start()
        file.write_text(f"clusters: [{{name: a, cluster: {{server: 'https://{host}:{port}'}}}}]")
        invocation = bound("kubectl_get", {"resource": "pods", "kubeconfig": str(file)})
        tries = _TRIES.replace("proxy = ", f"proxy = {port} or ")
        program = (PYTHON, "-I", "-S", "-c", *begins, tries, "1")
        outcome = outcome_of(
            replace(invocation, argv=program, parser="field:text"),
            root_tools=set() if own_user else {"kubectl_get"}, allow_private_addresses=True,
            config_folders=str(tmp_path),
        )  # fmt: skip
        served.join(30)
        assert isinstance(outcome, Success), outcome
        assert outcome.output["text"].strip().split("|")[1:] == ["refused", "reached"]
