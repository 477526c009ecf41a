"""Words that plans, tools and assets share: environments, classes of work, priorities."""

from __future__ import annotations

from typing import Any, Final, Literal

SlaClass = Literal["fast", "medium", "long"]
Mode = Literal["immediate", "background"]
ActionClass = Literal["read", "modify", "deploy"]
#: Where a plan acts and an asset belongs, as it is stored, published and compared.
Environment = Literal["dev", "staging", "prod"]
#: The right that a call needs; see toolmeta/permissions.py.
Permission = Literal["read", "write", "execute", "delete", "admin"]

#: The priorities, by which commands and plans that wait are served: the smaller one first.
MOST_URGENT: Final = 1
LEAST_URGENT: Final = 10
#: Of a command that says none.
DEFAULT_PRIORITY: Final = 5

#: The least strict first: what needs an approval in one may need none in those before it.
_BY_STRICTNESS: Final[tuple[Environment, ...]] = ("dev", "staging", "prod")
_SPELLINGS: Final = {"development": "dev", "production": "prod"}


def stored_environment(value: Any) -> Any:
    """The stored name of an environment; what is no known spelling is left as it is."""
    return _SPELLINGS.get(value, value) if type(value) is str else value


def at_most(environment: Environment) -> tuple[Environment, ...]:
    """The environments that are not stricter than this one, itself included."""
    return _BY_STRICTNESS[: _BY_STRICTNESS.index(environment) + 1]
