"""The `SECRET_…` variables that the executor took out of its environment at its start."""

from __future__ import annotations

from collections.abc import Mapping


class SecretVariables:
    """Secrets by the name of the variable, without `SECRET_`; all tenants share them."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        """Keeps them."""
        self._variables = dict(variables)

    def read(self, name: str, tenant: str) -> str | None:
        """The value; None where there is none."""
        return self._variables.get(name)
