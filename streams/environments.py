"""The environments of plans and assets: one vocabulary, with the spellings that people use."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator

#: What is stored, published and compared.
Environment = Literal["dev", "staging", "prod"]

_SPELLINGS: Final = {"development": "dev", "production": "prod"}


def stored(value: Any) -> Any:
    """The stored name of an environment; what is no known spelling is left as it is."""
    return _SPELLINGS.get(value, value) if type(value) is str else value


#: What a request may say; the model holds the stored name.
WrittenEnvironment = Annotated[
    Environment,
    BeforeValidator(
        stored,
        json_schema_input_type=Literal["dev", "staging", "prod", "development", "production"],
    ),
]
