"""Tools: what a plan can name."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from reading.models.base import Model
from toolmeta.effects import Effect


class ToolSummary(Model):
    """One tool in a list."""

    name: str
    aliases: list[str]
    domain: str
    platform: str
    group: str
    kind: str
    description: str
    effect: Effect = Field(description="what a call does at worst, unless a parameter raises it")
    action_class: str
    needs_root: bool
    program: str | None = Field(description="that executors need on their PATH; null: none")


class ToolList(Model):
    """Tools by name."""

    tools: list[ToolSummary]
    total: int


class ToolParameter(Model):
    """One parameter of a tool."""

    name: str
    type: str
    shape: str = Field(description="the type with its bounds, for people")
    required: bool
    default: Any
    secret: bool = Field(description="a plan gives a reference to a secret, never the value")
    meaning: str
    enum: list[Any] | None
    json_schema: dict[str, Any]


class Fact(Model):
    """A label and what is to be said under it."""

    label: str
    text: str


class ToolDetail(ToolSummary):
    """One tool with what a person needs to use it."""

    parameters: list[ToolParameter]
    rules: list[str] = Field(description="what holds between parameters, one sentence each")
    facts: list[Fact] = Field(description="effect, repetition, needs, approval, time, program")
    permission: str = Field(description="the right that its worst call needs")
    target: list[str] = Field(description="parameters that name what is acted on")
    timeout_seconds: float
    digest: str = Field(description="names this definition")
    example_plan: dict[str, Any] = Field(description="a whole plan that can be sent as it is")
    example_argv: list[str] | None = Field(description="what would be run for it")
    example_output: dict[str, Any]
    output_schema: dict[str, Any]
