"""How a handler that reads its body itself describes it for OpenAPI."""

from dataclasses import dataclass
from typing import Any

import msgspec
from litestar.openapi.spec import OpenAPIMediaType, Operation, Reference, RequestBody, Schema


def _member(member: dict[str, Any]) -> Schema:
    """Describe one member: of a type, one of some words, or either that or nothing."""
    said = next(iter(member.get("anyOf", [member])))
    return Schema(type=said.get("type", "string"), enum=said.get("enum"))


def described_body(form: type[msgspec.Struct]) -> type[Operation]:
    """Make the operation of a handler that takes this form."""
    (schema,), components = msgspec.json.schema_components([form])
    described = components[schema["$ref"].rpartition("/")[2]]
    properties: dict[str, Reference | Schema] = {
        name: _member(member) for name, member in described["properties"].items()
    }
    content = Schema(
        type="object",  # type: ignore[arg-type]
        properties=properties,
        required=described["required"],
        additional_properties=False,
    )

    @dataclass
    class Described(Operation):
        def __post_init__(self) -> None:
            self.request_body = RequestBody(
                content={"application/json": OpenAPIMediaType(schema=content)}, required=True
            )

    return Described
