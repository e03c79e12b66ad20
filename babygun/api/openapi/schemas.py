"""Schemas of the types that calls take and answer, and examples composed of their fields'."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

_REF = "#/components/schemas/{name}"


class Schemas:
    """``components``: of the Structs that were asked for so far, by name."""

    def __init__(self) -> None:
        self.components: dict[str, Any] = {}

    def of(self, kind: Any) -> dict[str, Any]:
        """The JSON schema of a type; Structs stand in it as references to ``components``."""
        (schema,), found = msgspec.json.schema_components([kind], ref_template=_REF)
        for name, component in found.items():
            if self.components.setdefault(name, component) != component:
                raise TypeError(f"two types of the API are called {name}")
        return schema

    def example(self, schema: Mapping[str, Any], place: str = "") -> Any:
        """A value that fits ``schema``, composed of the first example of each field.

        A field that may be null and names no example is null. Raises LookupError, with the field's
        ``place``, for any other text or number without an example.
        """
        if "examples" in schema:
            return schema["examples"][0]
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            return self.example(self.components[name], name)
        if "enum" in schema:
            return schema["enum"][0]
        if "anyOf" in schema:
            try:
                return self.example(schema["anyOf"][0], place)
            except LookupError:
                return None
        match schema["type"]:
            case "object":
                return {
                    name: self.example(field, f"{place}.{name}")
                    for name, field in schema.get("properties", {}).items()
                }
            case "array":
                return [self.example(schema["items"], f"{place}[]")]
            case "boolean":
                return False
        raise LookupError(f"{place} needs an example: Meta(examples=[…])")
