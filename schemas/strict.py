"""The base of everything that a person writes by hand: unknown keys are refused with the nearest known one named."""

from __future__ import annotations

import difflib
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

UNKNOWN_KEY = "unknown_key"
"""Type of the error; its context names the `key`."""


class Strict(BaseModel):
    """A frozen model without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        known = {field.alias or name for name, field in cls.model_fields.items()}
        for key in values:
            if key in known or key in cls.model_fields:
                continue
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            sentence = f"unknown key {key!r}{hint} Known: {', '.join(sorted(known))}"
            raise PydanticCustomError(UNKNOWN_KEY, "{sentence}", {"sentence": sentence, "key": key})
        return values
