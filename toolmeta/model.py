"""The definition of a tool: one YAML file `toolmeta/tools/<domain>/<tool>.yaml`."""

from __future__ import annotations

from functools import cached_property
from hashlib import sha256
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, Field, model_validator

from streams.vocabulary import ActionClass, Environment, SlaClass
from toolmeta import python_programs
from toolmeta.effects import ACTION_CLASS_OF, Effect, worst
from toolmeta.parameters import STRICT, Name, Parameter, Place, RegularExpression
from toolmeta.scripts import Script
from toolmeta.template import Entry

Domain = Literal["automation", "communication", "asset", "network", "test"]
Alias = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")]
ErrorClassName = Annotated[str, Field(pattern=r"^[a-z][a-z_]{1,63}$")]
Port = Annotated[int, Field(ge=1, le=65_535)]
Capability = Annotated[str, Field(pattern=r"^CAP_[A-Z_]+$")]


class FailureRule(BaseModel):
    """The error class of a program's failure, by a pattern in its last output."""

    model_config = STRICT

    text: RegularExpression = Field(min_length=1, max_length=500)
    error_class: ErrorClassName = Field(alias="class")


class UnreadRule(BaseModel):
    """How a program ends that goes on after what it could not read, and says so in stderr."""

    model_config = STRICT

    codes: tuple[int, ...] = Field(min_length=1, description="exit codes with which it went on")
    named: Name = Field(
        description="the parameter with the paths of the caller: an error about one of these fails "
        "the step, one about anything below makes the answer incomplete"
    )
    plain: bool = Field(default=False, description="names stand in its messages without quotes")


class Contacts(BaseModel):
    """The peers of a program: which parameters name them, and how each is checked.

    Read on the page of contacts too, so that every gap is said.
    """

    model_config = STRICT

    hosts: tuple[Name, ...] = Field(
        default=(),
        description="parameters that name a host, alone or in an address such as tcp://host:port: "
        "resolved and checked before the start, and the program gets the address",
    )
    name_option: str | None = Field(
        default=None, description="the option that still tells the program the name (SNI)"
    )
    compared_by: tuple[str, str] | None = Field(
        default=None,
        description="the options that have the program compare a certificate with the peer: the "
        "one for a name and the one for an address; added where argv has neither",
    )
    address_variable: str | None = Field(
        default=None,
        description="the environment variable that takes the address, where the name must stay",
    )
    name_kept_if: Name | None = Field(
        default=None,
        description="a boolean with which the program compares a certificate with the name, and "
        "takes no address beside it: the name is checked and left to the program",
    )
    proxied: tuple[Name, ...] = Field(
        default=(),
        description="parameters that choose peers by URL or by a configuration: where one is set, "
        "the program connects through the proxy of the executor, which checks every address",
    )
    probe: bool = Field(
        default=False,
        description="the program asks hosts only whether and how they answer: where "
        "RUNSTREAM_NETWORK_SCOPE is set, it binds the program, and all of these share one rate",
    )
    probed_ports: tuple[Port, Port] | None = Field(
        default=None,
        description="the first and the last port that a probe asks, where no parameter names one",
    )
    fixed: str | None = Field(
        default=None, max_length=300, description="the peers that no parameter of a plan chooses"
    )
    gap: str | None = Field(
        default=None, max_length=400, description="what is not checked here, and why it cannot be"
    )

    @model_validator(mode="after")
    def _ports_in_order(self) -> Contacts:
        if self.probed_ports is not None and self.probed_ports[0] > self.probed_ports[1]:
            raise ValueError("probed_ports: the first port is beyond the last one")
        return self


class Run(BaseModel):
    """How a tool runs: a program's arguments, or a call of a driver that starts no program."""

    model_config = STRICT

    driver: Name
    argv: tuple[Entry, ...] = ()
    wide: Name | None = Field(
        default=None, description="the array whose items are the user's own options, on purpose"
    )
    contacts: Contacts = Field(
        default_factory=Contacts, description="whom the program sends to, and how that is checked"
    )
    code_paths: tuple[Name, ...] = Field(
        default=(),
        description="parameters that name a configuration or a socket, which decides what the "
        "program does: only below the folders of RUNSTREAM_CONFIG_FOLDERS",
    )
    starts: Name | None = Field(
        default=None,
        description="parameter that names a further program: an executor starts only those that "
        "its operator has listed (RUNSTREAM_STARTABLE_PROGRAMS)",
    )
    new_privileges: bool = Field(
        default=False,
        description="the program needs the rights that its file grants (setuid, setgid, "
        "capabilities); no other program gets more rights than it was started with",
    )
    script: Script | None = Field(
        default=None,
        description="driver script: the script that it runs; argv are its arguments",
    )
    python: Name | None = Field(
        default=None,
        description="a Python program of `toolmeta/programs/` that python3 of the machine gets "
        "over stdin, with every parameter but `host`; it says what it changed, or why not",
    )
    stops_alone: bool = Field(
        default=False,
        description="a stop reaches the program alone at first, which ends what it has started in "
        "its own way; on this machine only, and what is left after the grace is killed",
    )
    stdin: str | None = None
    bound_stdin: Literal["mysql"] | None = Field(
        default=None,
        description="where the parameter `params` is set, stdin is the statement `query` with "
        "these values bound, as this client reads it",
    )
    env: dict[str, str] = Field(default_factory=dict)
    call: str | None = None
    arguments: dict[str, Any] | None = Field(
        default=None, description="template of the call's arguments; absent: every parameter"
    )
    parser: str | None = Field(default=None, pattern=r"^[a-z0-9_]+(:[a-z0-9_]+)?$")
    success_codes: tuple[int, ...] = Field(default=(0,), min_length=1)
    silent_codes: tuple[int, ...] = Field(
        default=(),
        description="exit codes that are an answer too, where the program wrote nothing to stderr",
    )
    unread: UnreadRule | None = Field(
        default=None,
        description="the program goes on after what it could not read: the output then has "
        "`complete`, `errors` and `error_count`",
    )
    parse_stderr: bool = Field(
        default=False, description="the parser reads stdout and stderr, in the order of arrival"
    )
    failures: tuple[FailureRule, ...] = Field(
        default=(), description="classes of a failed program; the first pattern that is found wins"
    )
    warnings: tuple[FailureRule, ...] = Field(
        default=(),
        description="what the program says on stderr and ends well all the same, although it did "
        "not do what it was asked: the call fails with the class",
    )


class EffectBy(BaseModel):
    """The effect of a tool whose operation is a parameter, by that parameter's value."""

    model_config = STRICT

    parameter: Name
    effects: dict[str, Effect]


class Risk(BaseModel):
    """The consequences of running the tool, by its effect and not by its category."""

    model_config = STRICT

    effect: Effect
    effect_by: EffectBy | None = None
    raised_by: dict[Place, Effect] = Field(
        default_factory=dict,
        description="parameters, or fields of one (`metadata.connection`), that give a call at "
        "least this effect wherever they are set",
    )
    raised_by_headers: dict[str, Effect] = Field(
        default_factory=dict,
        description="headers of a request, in lower case, that give a call at least this effect",
    )
    why_read: str | None = Field(
        default=None,
        max_length=300,
        description="why a call whose effect is `read` changes nothing and runs nothing of its own",
    )
    needs_root: bool = False
    needs_network: bool = False
    capabilities: tuple[Capability, ...] = ()
    idempotent: bool
    retry_safe: bool
    transient: frozenset[ErrorClassName] = Field(
        default=frozenset(), description="error classes after the effect that repeating may heal"
    )
    approval_in: frozenset[Environment] = frozenset()


class Example(BaseModel):
    """One worked example; the conformance suite binds it and validates its output."""

    model_config = STRICT

    parameters: dict[str, Any]
    argv: tuple[str, ...] | None = None
    output: dict[str, Any]


class Tool(BaseModel):
    """One tool of the catalogue.

    Rules between its fields are checked by `rules.faults` when a definition is read.
    """

    model_config = STRICT

    name: Name
    aliases: tuple[Alias, ...] = ()
    domain: Domain
    platform: str = Field(min_length=1)
    group: str = ""
    kind: str = Field(min_length=1)
    description: str = Field(min_length=20, max_length=600)
    parameters: dict[Name, Parameter] = Field(default_factory=dict)
    one_of: tuple[tuple[Name, ...], ...] = Field(
        default=(), description="groups of parameters of which at least one must be given"
    )
    exclusive: tuple[tuple[Name, ...], ...] = Field(
        default=(), description="groups of parameters of which at most one may be given"
    )
    target: tuple[Name, ...] = Field(
        default=("host",), description="the parameters that name what is acted on, first one wins"
    )
    targets: tuple[Name, ...] = Field(
        default=(), description="the parameters that list hosts or assets; all of them are acted on"
    )
    any_target: dict[Name, tuple[str, ...]] = Field(
        default_factory=dict,
        description="the parameters with which only the run can tell what is acted on; where "
        "values are listed, with these only",
    )
    output: dict[str, Any] = Field(description="JSON Schema 2020-12 of the output")
    run: Run
    risk: Risk
    timeout_seconds: float = Field(default=30.0, gt=0, le=86_400)
    estimate_seconds: float = Field(default=2.0, gt=0, le=86_400)
    sla_class: SlaClass | None = None
    stated_action_class: ActionClass | None = Field(default=None, alias="action_class")
    program: str | None = None
    debian_package: str | None = None
    example: Example

    def __hash__(self) -> int:
        return hash(self.name)

    @cached_property
    def digest(self) -> str:
        """Names this definition: 32 hex digits, others where anything in it is changed."""
        # Sets have no order of their own, and one that differs between processes.
        dumped = self.model_dump()
        text = orjson.dumps(dumped, default=sorted, option=orjson.OPT_SORT_KEYS)
        # What such a tool does stands in its program.
        program = dumped["run"].get("python")
        if isinstance(program, str):
            text += python_programs.source(program).encode()
        return sha256(text).hexdigest()[:32]

    @cached_property
    def action_class(self) -> ActionClass:
        """`read`, `modify` or `deploy`: as stated, else by the worst effect of its calls."""
        worst_effect = worst(self.risk.effect, *self.risk.raised_by.values())
        return self.stated_action_class or ACTION_CLASS_OF[worst_effect]

    @cached_property
    def secret_parameters(self) -> frozenset[str]:
        """The parameters that may hold a secret, also in their items or values."""
        return frozenset(
            name
            for name, shape in self.parameters.items()
            if shape.secret
            or (shape.items is not None and shape.items.secret)
            or (shape.values is not None and shape.values.secret)
        )
