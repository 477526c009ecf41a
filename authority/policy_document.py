"""The policy file: what a rule can say, checked before anything is decided by it."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from streams.vocabulary import Environment, Permission

#: What may be done to an execution, or asked of the router: the types of control messages,
#: `explain`, `apply`: to put a procedure where requests find it, and `read`: to see an execution
#: by the API.
Verb = Literal[
    "cancel", "approve", "reject", "pause", "resume", "rerun", "resolve", "redrive", "explain",
    "apply", "read",
]  # fmt: skip

_STRICT: Final = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
#: Text in which `*` stands for any characters and `?` for one.
Pattern = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[!-~]+$")]
Patterns = Annotated[tuple[Pattern, ...], Field(min_length=1, max_length=1_000, strict=False)]
#: `*` stands for all of them.
Actions = Literal[Permission, "*"]
Verbs = Literal[Verb, "*"]
Environments = Literal[Environment, "*"]


class Member(BaseModel):
    """Who has a role: actors of these tenants, as their keys name them."""

    model_config = _STRICT

    tenants: Patterns
    actors: Patterns


class Rule(BaseModel):
    """One rule: who may, or may not, do what, and where.

    `actions`, `secrets` and `controls` say what; the others narrow it, and one that is absent
    narrows nothing.
    """

    model_config = _STRICT

    id: Name = Field(description="named by every decision that follows from the rule")
    effect: Literal["allow", "deny"]
    description: str | None = Field(default=None, max_length=500)
    tenants: Patterns | None = None
    actors: Patterns | None = Field(
        default=None,
        description="in a rule that allows, `*` is every actor with a key; `anonymous` is named",
    )
    roles: Annotated[tuple[Name, ...], Field(min_length=1, max_length=100, strict=False)] | None = (
        None
    )
    actions: Annotated[tuple[Actions, ...], Field(min_length=1, strict=False)] | None = None
    secrets: Patterns | None = Field(default=None, description="paths such as `env/MAIL_*`")
    controls: Annotated[tuple[Verbs, ...], Field(min_length=1, strict=False)] | None = None
    environments: Annotated[tuple[Environments, ...], Field(min_length=1, strict=False)] | None = (
        None
    )
    tools: Patterns | None = Field(
        default=None, description="names, or `domain/name`; wildcards in both"
    )
    assets: Patterns | None = Field(
        default=None, description="as plans name them, in lower case and without a port"
    )
    tags: Annotated[tuple[Name, ...], Field(min_length=1, max_length=100, strict=False)] | None = (
        Field(default=None, description="names under `tags` of this file")
    )
    approval_levels: (
        Annotated[tuple[Annotated[int, Field(ge=0, le=3)], ...], Field(min_length=1, strict=False)]
        | None
    ) = Field(default=None, description="only executions that need so many approvals")
    own: bool | None = Field(
        default=None, description="true: only executions that the same actor asked for"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Rule:
        if self.actions is None and self.secrets is None and self.controls is None:
            raise _fault("actions", "a rule says what it is about: actions, secrets or controls")
        if self.effect == "allow" and self.actors is None and self.roles is None:
            raise _fault("actors", "a rule that allows says whom: give actors or roles")
        if self.controls is not None:
            for field in ("actions", "secrets", "tools", "assets", "tags"):
                if getattr(self, field) is not None:
                    raise _fault(
                        field,
                        "controls are about whole executions, not about their steps: "
                        "write two rules",
                    )
        elif self.own is not None:
            raise _fault("own", "it narrows controls only: take it out")
        return self


class Document(BaseModel):
    """A policy file."""

    model_config = _STRICT

    version: Literal[1]
    roles: dict[Name, Annotated[tuple[Member, ...], Field(strict=False)]] = Field(
        default_factory=dict
    )
    tags: dict[Name, Patterns] = Field(
        default_factory=dict, description="groups of assets, by patterns of their names"
    )
    rules: Annotated[tuple[Rule, ...], Field(max_length=2_000, strict=False)]

    @model_validator(mode="after")
    def _consistent(self) -> Document:
        first: dict[str, int] = {}
        for index, rule in enumerate(self.rules):
            if rule.id in first:
                where = f"rules[{first[rule.id]}]"
                raise _fault(f"rules[{index}].id", f"{rule.id} is the id of {where} too")
            first[rule.id] = index
            for name in rule.roles or ():
                if name not in self.roles:
                    message = f"there is no role {name}; add it under roles"
                    raise _fault(f"rules[{index}].roles", message)
            for name in rule.tags or ():
                if name not in self.tags:
                    message = f"there is no tag {name}; add it under tags"
                    raise _fault(f"rules[{index}].tags", message)
        return self


def _fault(field: str, message: str) -> PydanticCustomError:
    # Braces would be taken for a template; names and patterns of a policy have none.
    return PydanticCustomError("policy", message, {"field": field})
