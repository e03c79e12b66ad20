"""Schemas of the types that calls take and answer, and examples composed of their fields'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

_REF = "#/components/schemas/{name}"


class Schemas:
    """The JSON schemas of ``kinds``, which are types. ``components``: of their Structs, by name."""

    def __init__(self, kinds: Sequence[Any]) -> None:
        # All in one go: msgspec looks through a type again in each call, which takes milliseconds.
        found, self.components = msgspec.json.schema_components(kinds, ref_template=_REF)
        self._kinds = kinds  # keeps them alive, so that no other object gets an id of theirs
        self._schemas = {id(kind): schema for kind, schema in zip(kinds, found, strict=True)}

    def of(self, kind: Any) -> dict[str, Any]:
        """The schema of one of the types; Structs stand in it as references to ``components``."""
        return self._schemas[id(kind)]

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

    def example_with(self, schema: Mapping[str, Any], given: Any) -> Any:
        """``given``, and examples of what it leaves out of a Struct, also of those in a list.

        What may be null stands in it as a whole.
        """
        if "$ref" in schema:
            schema = self.components[schema["$ref"].rpartition("/")[2]]
        if isinstance(given, dict) and "properties" in schema:
            return self.example(schema) | {
                name: self.example_with(schema["properties"][name], value)
                for name, value in given.items()
            }
        if isinstance(given, list) and "items" in schema:
            return [self.example_with(schema["items"], one) for one in given]
        return given
