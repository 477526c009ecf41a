"""Settings: one frozen model per process type, read once from the environment at start.

Every option is an environment variable; its description here is its documentation. A variable
that starts with `RUNSTREAM_` and means nothing is an error, since it is always a misspelling.
"""

from __future__ import annotations

import difflib
import os
import re
import socket
from typing import Annotated, Any, Final, Literal, TypeVar, get_args
from urllib.parse import unquote, urlsplit

from pydantic import AliasChoices, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableSetting

from runtime import health_ports
from runtime.api_settings import ApiOptions
from runtime.capture_settings import CaptureSettings
from runtime.config_folders import Folders
from runtime.group_settings import GroupSettings
from runtime.message_settings import MessageSettings
from runtime.places import Allowed, Places
from runtime.quotas import Quotas, QuotasSetting
from runtime.rates import RateLimits, RateLimitsSetting
from runtime.retention import RetentionSettings
from runtime.secret_settings import SecretSettings
from runtime.step_limits import StepLimits
from runtime.trace_settings import TraceSettings
from streams.vocabulary import Environment, stored_environment


class SettingsError(Exception):
    """A setting is wrong; the message is one line that names it."""


class CommonSettings(BaseSettings):
    """What every process needs."""

    model_config = SettingsConfigDict(
        env_prefix="RUNSTREAM_",
        frozen=True,
        extra="ignore",
        populate_by_name=True,
        defer_build=True,
    )

    bootstrap_servers: str = Field(
        default="localhost:9092",
        validation_alias=AliasChoices("KAFKA_BOOTSTRAP_SERVERS"),
        pattern=r"^[^\s,:]+:\d{1,5}(,[^\s,:]+:\d{1,5})*$",
        description="Kafka brokers, host:port, comma separated",
    )
    kafka_options: dict[str, str | int | float | bool] = Field(
        default_factory=dict,
        # It holds the password of this process.
        repr=False,
        description="further librdkafka options for every client, as a JSON object (SASL, TLS); "
        "its passwords are secrets",
    )
    topic_prefix: str = Field(
        default="",
        pattern=r"^([a-zA-Z0-9-]+\.)?$",
        description="put before every topic name; ends with a dot",
    )
    instance: str = Field(
        default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}",
        min_length=1,
        max_length=100,
        description="name of this process; stable names recover faster after a crash",
    )
    http_port: int | None = Field(default=None, ge=0, le=65535, description=health_ports.MEANING)
    http_host: str = Field(default="127.0.0.1", description="address that the port is bound to")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="auto: console on a terminal, else JSON lines"
    )
    masking_off: str = Field(
        default="ip_address",
        description="patterns that are not masked in output, results and logs, comma separated; "
        "secrets that an executor knows are always masked",
    )
    state_dir: str = Field(default=".runstream", description="folder of the local stack")
    test_tools: bool = Field(
        default=False,
        description="let plans use the tools of the test domain, one of which runs any program "
        "without approval; for tests and benchmarks",
    )
    tools_path: str | None = Field(
        default=None,
        description="folders with definitions of your own tools and the script library, separated "
        "as in PATH, each with DOMAIN/TOOL.yaml; the same for router and executors; read again "
        "when a file changes",
    )
    drain_seconds: float = Field(
        default=25.0, ge=0, le=600, description="how long a stop may take after SIGTERM"
    )
    signing_key: str | None = Field(
        default=None,
        description="file of the private key that this process or command signs with; routers and "
        "executors need one (runstream keys)",
    )
    trusted_keys: str | None = Field(
        default=None,
        description="file of the public keys whose signatures count; routers and executors need "
        "it, and read it again when it changes",
    )


class DatabaseSettings(CommonSettings):
    """What a process with a database needs."""

    database_url: SecretStr = Field(
        default=SecretStr("postgresql://localhost:5432/runstream"),
        validation_alias=AliasChoices("DATABASE_URL"),
        description="Postgres, as a postgresql:// URL",
    )


class InventorySettings(CommonSettings):
    """What a process with the inventory needs."""

    assets_database_url: SecretStr | None = Field(
        default=None,
        description="Postgres with the inventory, as a postgresql:// URL of a role that can use "
        "nothing else (`runstream migrate` makes it); without it no host is looked up, and asset "
        "tools fail",
    )


class MigrateSettings(DatabaseSettings, InventorySettings):
    """`runstream migrate`."""


class RouterSettings(CommonSettings):
    """The router."""

    dedup_hours: float = Field(
        default=24.0, gt=0, le=168, description="how long an idempotency key is remembered"
    )
    policy: str | None = Field(
        default=None,
        description="YAML file that says who may run and steer what (docs/policy.md), read again "
        "when it changes; default is the built-in one",
    )
    require_signatures: bool = Field(
        default=False,
        description="refuse requests and control messages that are not signed; otherwise those "
        "are from nobody (anonymous), whatever actor they name",
    )
    quotas: Annotated[QuotasSetting, NoDecode] = Field(
        default_factory=Quotas,
        description="what tenants may have, as JSON or the path of a YAML file; see limits.md",
    )


def _names(given: object) -> object:
    if not isinstance(given, str):
        return given
    return [name for word in given.split(",") if (name := word.strip())]


#: Names in an environment variable, comma separated.
Names = Annotated[frozenset[str], NoDecode, BeforeValidator(_names)]


class ExecutorSettings(
    InventorySettings, SecretSettings, MessageSettings, GroupSettings, CaptureSettings
):
    """An executor agent."""

    environment: Annotated[Environment, BeforeValidator(stored_environment)] = Field(
        description="dev, staging or prod: what this executor serves. It has no default; steps of "
        "plans of another environment are refused",
    )
    concurrency: int = Field(
        default=32, ge=1, le=1024, description="steps at once on the bulk lane of this process"
    )
    immediate_concurrency: int = Field(
        default=8, ge=1, le=256, description="steps at once kept for the immediate lane"
    )
    target_concurrency: int = Field(
        default=4, ge=1, le=256, description="steps at once against one target"
    )
    quotas: Annotated[QuotasSetting, NoDecode] = Field(
        default_factory=Quotas,
        description="what tenants may have, as JSON or the path of a YAML file; see limits.md",
    )
    rate_limits: Annotated[RateLimitsSetting, NoDecode] = Field(
        default_factory=RateLimits,
        description="rates by tool, target, receiver and tenant, as JSON or the path of a YAML "
        "file; see limits.md",
    )
    step_user: str | None = Field(
        default=None,
        min_length=1,
        description="account as which programs of steps run here; where the executor is root the "
        "default is a user id of its own for each, else the executor's own user. With root they "
        "have every right, the executor's secrets included",
    )
    root_tools: Names = Field(
        default=frozenset(),
        description="tools whose programs run here as the executor's own user, comma separated",
    )
    step_limits: StepLimits = Field(
        default=StepLimits(),
        description="what the programs of one step may use here, as a JSON object: processes, "
        "memory_bytes, open_files, file_bytes, scratch_files, scratch_bytes, output_bytes",
    )
    startable_programs: Names = Field(
        default=frozenset(),
        description="programs that the tools sudo and nice may start, comma separated, each as a "
        "plan writes it; none by default",
    )
    allow_commands: Places = Field(
        default=Allowed(),
        description="where plans may run a command of their own (tool `command`), comma separated: "
        "`local` (this machine), hosts by the address that is connected to (web-*.example.org, "
        "10.1.0.0/16), `*` (every host, not this machine); nowhere by default",
    )
    allow_scripts: Places = Field(
        default=Allowed(),
        description="where plans may run a script whose text they bring (tool `script`), as for "
        "`RUNSTREAM_ALLOW_COMMANDS`; nowhere by default. Scripts of the library need no entry",
    )
    config_folders: Folders = Field(
        default=(),
        description="folders on this machine and on hosts, comma separated: below them plans may "
        "name configurations and sockets (kubeconfig, engine, socket, config_dir ...); none by "
        "default",
    )
    sql_database_url: SecretStr | None = Field(
        default=None,
        description="database of the psql tool where a step names no host; none by default, "
        "since Runstream's own holds every tenant's history",
    )
    ssh_known_hosts: str | None = Field(
        default=None, description="known_hosts file for SSH; default is the user's own"
    )
    ssh_user: str | None = Field(default=None, description="login name where a step names none")
    ssh_key_file: str | None = Field(default=None, description="private key file for SSH")
    ssh_port: int = Field(
        default=22, ge=1, le=65535, description="port of SSH where neither host nor asset names one"
    )
    winrm_ca_file: str | None = Field(
        default=None,
        description="PEM file of the authorities for WinRM; default is the machine's",
    )
    allow_private_addresses: bool = Field(
        default=False,
        description="let tools reach loopback, link-local and private addresses; the metadata "
        "service of a cloud is never reached",
    )
    network_scope: str = Field(
        default="",
        description="networks that scans and probes (ping, traceroute, dig and the like) may be "
        "pointed at, comma separated, each with ports or without (10.1.0.0/16:22+8000-8100, "
        "[2001:db8::/64]:22); none by default: nothing may be scanned, and probes reach public "
        "addresses",
    )
    scan_max_rate: int = Field(
        default=1_000, ge=1, le=10_000, description="packets a second of one scan, at most"
    )
    capture_folders: Folders = Field(
        default=(),
        description="folders on this machine, comma separated: below them plans may name captures "
        "that were made elsewhere (`file` of the tools that read captures); none by default",
    )
    library_folders: Folders = Field(
        default=(),
        description="folders on this machine, comma separated: plans of every tenant may put the "
        "files and templates below them on hosts (file_put); nothing writes there; none by default",
    )
    transfer_folders: Folders = Field(
        default=(),
        description="folders on this machine, comma separated: below them, in a folder of their "
        "tenant, plans may name files of `curl` and `sendmail`; none by default",
    )
    ledger: str | None = Field(
        default=None,
        description="file to which the tools of the test domain append every effect (fault tests)",
    )


class SinkSettings(DatabaseSettings, RetentionSettings):
    """The Postgres sink."""

    batch_records: int = Field(default=2_000, ge=1, le=50_000)


class ProjectorSettings(CommonSettings):
    """The progress projector."""


class ApiSettings(DatabaseSettings, ApiOptions):
    """The HTTP API and the console."""


class MatcherSettings(CommonSettings, GroupSettings):
    """The matcher of triggers."""


S = TypeVar("S", bound=BaseSettings)

#: The variable of `kafka_options`; as a whole it is a secret.
KAFKA_OPTIONS: Final = "RUNSTREAM_KAFKA_OPTIONS"
_UNREADABLE: Final = re.compile(r'field "(\w+)"')
_SECRET_OPTION: Final = re.compile(r"password|passphrase|secret|key\.pem")
_EVERY: tuple[type[BaseSettings], ...] = (
    CommonSettings,
    DatabaseSettings,
    RouterSettings,
    ExecutorSettings,
    SinkSettings,
    ProjectorSettings,
    MatcherSettings,
    ApiSettings,
    TraceSettings,
)


def _variable(model: type[BaseSettings], name: str) -> str:
    alias = model.model_fields[name].validation_alias
    if isinstance(alias, AliasChoices):
        return str(alias.choices[0])
    return f"RUNSTREAM_{name.upper()}"


def variables(model: type[BaseSettings]) -> dict[str, str]:
    """The environment variables of a settings model, each with its description."""
    return {
        _variable(model, name): field.description or ""
        for name, field in model.model_fields.items()
    }


def secret_variables() -> frozenset[str]:
    """The environment variables of all processes that hold a password or an address with one."""
    return frozenset({KAFKA_OPTIONS}) | {
        _variable(model, name)
        for model in _EVERY
        for name, field in model.model_fields.items()
        if SecretStr in (field.annotation, *get_args(field.annotation))
    }


def passwords(settings: CommonSettings) -> list[str]:
    """The secrets that were set for this process, and the passwords in them that are addresses."""
    found = [
        str(value)
        for option, value in sorted(settings.kafka_options.items())
        if _SECRET_OPTION.search(option)
    ]
    for name in sorted(settings.model_fields_set):
        value = getattr(settings, name)
        if not isinstance(value, SecretStr):
            continue
        text = value.get_secret_value()
        address = urlsplit(text) if "://" in text else None
        if address is None or not name.endswith("database_url"):
            found.append(text)
        # A password that is the user's name is no secret, and stands in much harmless output.
        elif address.password and unquote(address.password) != unquote(address.username or ""):
            found.append(unquote(address.password))
    return found


def load(model: type[S], **overrides: Any) -> S:
    """Read the settings of one process; raises SettingsError with one line that names the fault."""
    known = {name for other in _EVERY for name in variables(other)}
    for name in sorted(os.environ):
        if name.startswith("RUNSTREAM_") and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise SettingsError(f"{name} is not a setting of Runstream{hint}")
    try:
        return model(**overrides)
    except UnreadableSetting as error:
        # Its cause may quote the value, and its text names the field; only these are JSON objects.
        named = _UNREADABLE.search(str(error))
        name = _variable(model, named[1]) if named else KAFKA_OPTIONS
        raise SettingsError(f"{name}: is not a JSON object") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = str(first["loc"][0]) if first["loc"] else "settings"
        inner = ".".join(str(part) for part in first["loc"][1:])
        name = _variable(model, field) if field in model.model_fields else field
        if first["type"] == "missing" and not inner:
            meaning = variables(model).get(name, "")
            raise SettingsError(f"{name} is not set: {meaning}") from None
        where = f"{name}: {inner}" if inner else name
        raise SettingsError(f"{where}: {first['msg']}") from None
