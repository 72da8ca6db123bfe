"""openapi.yaml -> docs.html: the API documentation as one page without scripts, fonts or requests.

    python -m deploy.docs_page        write it (`make docs-page`); a test fails when it is out of date

Run where the development requirements are installed: the gateway itself never parses YAML.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "services/gateway/api/openapi.yaml"
TARGET = ROOT / "services/gateway/pages/docs.html"
METHODS = ("get", "post")


class Reference:
    """The document with its `$ref`s followed, as the template asks for it."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self.info = document["info"]
        self.schemas = document["components"]["schemas"]

    def follow(self, value: Mapping[str, Any]) -> Mapping[str, Any]:
        """What a `$ref` points at; everything else as it is."""
        while "$ref" in value:
            found = self.document
            for name in value["$ref"].removeprefix("#/").split("/"):
                found = found[name]
            value = found
        return value

    def groups(self) -> Iterator[tuple[Mapping[str, Any], list[Mapping[str, Any]]]]:
        """Every tag with its operations, in the document's order."""
        operations = [
            {"method": method.upper(), "path": path, **item[method]}
            for path, item in self.document["paths"].items()
            for method in METHODS
            if method in item
        ]
        for tag in self.document["tags"]:
            yield tag, [operation for operation in operations if tag["name"] in operation["tags"]]

    def alike(self, contents: Mapping[str, Any]) -> list[tuple[list[str], Mapping[str, Any]]]:
        """Media types with the same schema, together."""
        rows: list[tuple[list[str], Mapping[str, Any]]] = []
        for media, content in contents.items():
            if rows and rows[-1][1] == content:
                rows[-1][0].append(media)
            else:
                rows.append(([media], content))
        return rows

    def kind(self, schema: Mapping[str, Any]) -> Markup:
        """A schema in a few words: `integer, 0 to 10, default 0`, or a link to a named one."""
        if "$ref" in schema:
            name = schema["$ref"].rsplit("/", 1)[1]
            target = self.schemas[name]
            if "properties" in target:
                return Markup('<a href="#schema-{0}">{0}</a>').format(name)
            return self.kind(target)
        if "oneOf" in schema:
            return Markup(" or ").join(self.kind(option) for option in schema["oneOf"])
        if "const" in schema:
            return Markup("<code>{}</code>").format(_json(schema["const"]))
        words = [self._base(schema), *_bounds(schema)]
        return Markup(", ").join(word for word in words if word)

    def _base(self, schema: Mapping[str, Any]) -> Markup:
        if "enum" in schema:
            return Markup(" | ").join(Markup("<code>{}</code>").format(_json(value)) for value in schema["enum"])
        if schema.get("type") == "array" and "items" in schema:
            return Markup("list of ") + self.kind(schema["items"])
        if schema.get("format") == "binary":
            return Markup("bytes")
        kinds = schema.get("type", "anything")
        return escape(kinds if isinstance(kinds, str) else " or ".join(kinds))

    def named_schemas(self) -> list[tuple[str, Mapping[str, Any]]]:
        """The objects worth a table of their own; the template asks for them."""
        return [(name, schema) for name, schema in self.schemas.items() if "properties" in schema]


def _json(value: object) -> str:
    return value if isinstance(value, str) and value else json.dumps(value)


def _bounds(schema: Mapping[str, Any]) -> Iterator[str]:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        yield f"{low} to {high}"
    elif low is not None:
        yield f"at least {low}"
    if "default" in schema:
        yield f"default {schema['default']}"


def _text(value: str | None) -> Markup:
    """Description -> HTML: paragraphs, lists of lines that begin with a dash, `code`."""
    blocks = []
    for block in (value or "").strip().split("\n\n"):
        lines = re.split(r"^- ", block, flags=re.MULTILINE) if block.startswith("- ") else None
        if lines:
            items = Markup("").join(Markup("<li>{}</li>").format(_inline(line)) for line in lines if line.strip())
            blocks.append(Markup("<ul>{}</ul>").format(items))
        elif block:
            blocks.append(Markup("<p>{}</p>").format(_inline(block)))
    return Markup("\n").join(blocks)


def _inline(text: str) -> Markup:
    parts = re.split(r"`([^`]+)`", text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if index % 2 else escape(part) for index, part in enumerate(parts)
    )


def render(source: str) -> str:
    """The page for an OpenAPI document."""
    environment = Environment(
        loader=FileSystemLoader(ROOT / "deploy"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    reference = Reference(yaml.safe_load(source))
    environment.filters.update(text=_text, inline=lambda value: _inline(value or ""), followed=reference.follow)
    return environment.get_template("docs.html.jinja").render(reference=reference) + "\n"


def main() -> int:
    """Write docs.html."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    TARGET.write_text(render(SOURCE.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
