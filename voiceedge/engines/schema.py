"""Schemas of functions' arguments, narrowed so that a small model that loses itself still comes to an end.

What fits the narrowed schema fits the client's. Where the client sets no bound there is one: a model that repeats
itself would fill a string or a list until its answer is cut off, and a call that is cut off is worth nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

LARGEST_SCHEMA = 32_768
"""Characters of JSON: more than the context window of an edge model has room for."""
DEEPEST_SCHEMA = 40
"""Schemas inside one another. The grammar library parses 128 levels of JSON; a level of schema is two or three."""
MOST_REFERENCES = 100
"""Different ones: whether they lead anywhere is looked at once a level."""
MOST_PATTERNS = 8
"""Where several schemas hold for the same value: the grammar library takes 0.03 s for 16 patterns at once, 0.8 s for
20, 10 s for 22 and for ever for 40; twelve intricate ones take it 0.8 s."""
LONGEST_STRING = 500
"""Characters, where the schema says nothing: about 120 tokens."""
LONGEST_ARRAY = 32
"""Elements, where the schema says nothing."""
LARGEST_INTEGER = 2**53 - 1
"""What every JSON reader holds exactly (RFC 8259, section 6)."""
SMALLEST_FRACTION = 1e-6
"""Of numbers, where the schema says nothing: a decimimetre in degrees of latitude. Without it, 1/3 would never end."""
LARGEST_MULTIPLE = 1000
"""Of `multipleOf`, without its power of ten: the automaton has a state a remainder."""
FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"})
"""Which the grammar library enforces. Any other is what JSON Schema calls an annotation, and left out."""

_INSIDE_MAPS = ("properties", "patternProperties", "$defs", "definitions")
_INSIDE_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_INSIDE = ("items", "additionalProperties")
_MEANT = {"properties": "object", "items": "array", "pattern": "string"}
"""The type that is meant where none is said."""
_PATTERNS = frozenset({"pattern", "format"})
_COMPOSED = frozenset({"anyOf", "oneOf", "allOf", "$ref", "patternProperties"})


class Unfit(ValueError):
    """A schema that cannot be used; says why, to go behind "the parameters of x cannot be used: "."""


def written(parameters: dict[str, Any]) -> str:
    """The client's schema as JSON.

    Raises:
        Unfit: it is no JSON, or too large.
    """
    try:
        text = json.dumps(parameters, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise Unfit(f"they are not JSON ({error})") from error
    if len(text) > LARGEST_SCHEMA:
        raise Unfit(f"they have {len(text)} characters and may have {LARGEST_SCHEMA}")
    return text


def narrowed(text: str) -> dict[str, Any]:
    """The schema that arguments are held to, for a function whose parameters are `text`.

    Raises:
        Unfit: it is not the schema of an object, or has more in it than can be held to.
    """
    schema: dict[str, Any] = json.loads(text)
    schema.pop("x-guidance", None)  # the grammar library's own options are not the client's to set
    if schema.setdefault("type", "object") != "object":
        raise Unfit('they must be an object: "type": "object"')
    if not _COMPOSED & schema.keys():
        schema.setdefault("properties", {})
    _narrow(schema, closing=not _is_composed(schema), depth=0)
    _require_few_patterns(schema)
    return schema


def _narrow(schema: Any, *, closing: bool, depth: int) -> None:
    if not isinstance(schema, dict):
        return  # true, false, or a mistake that the grammar library names better
    if depth > DEEPEST_SCHEMA:
        raise Unfit(f"they are more than {DEEPEST_SCHEMA} levels deep")
    if "enum" not in schema and "const" not in schema:
        _bound(schema)
        if closing and "properties" in schema:
            schema.setdefault("additionalProperties", False)
    for inside in _schemas_in(schema):
        _narrow(inside, closing=closing, depth=depth + 1)


def _bound(schema: dict[str, Any]) -> None:
    """Set the bounds that `schema` leaves open."""
    if "type" not in schema and not _COMPOSED & schema.keys():
        meant = next((kind for key, kind in _MEANT.items() if key in schema), None)
        if meant is not None:
            schema["type"] = meant
    named = schema.get("type")
    # what is no name of a type is a mistake that the grammar library names better
    kinds = {kind for kind in (named if isinstance(named, list) else [named]) if isinstance(kind, str)}
    if str(schema.get("format")) not in FORMATS:
        schema.pop("format", None)
    if "string" in kinds and not {"pattern", "format"} & schema.keys():
        schema.setdefault("maxLength", max(LONGEST_STRING, _count(schema, "minLength")))
    if "array" in kinds:
        schema.setdefault("maxItems", max(LONGEST_ARRAY, _count(schema, "minItems")))
    if kinds & {"integer", "number"}:
        _bound_number(schema, is_integer="number" not in kinds)


def _bound_number(schema: dict[str, Any], *, is_integer: bool) -> None:
    if "multipleOf" in schema:
        _check_multiple(schema["multipleOf"])
    elif not is_integer:
        schema["multipleOf"] = SMALLEST_FRACTION
    if not {"minimum", "exclusiveMinimum"} & schema.keys():
        schema["minimum"] = -LARGEST_INTEGER
    if not {"maximum", "exclusiveMaximum"} & schema.keys():
        schema["maximum"] = LARGEST_INTEGER


def _check_multiple(multiple: Any) -> None:
    try:
        digits = Decimal(str(multiple)).normalize().as_tuple().digits
    except InvalidOperation:
        return  # not a number, which the grammar library says
    if int("".join(map(str, digits))) > LARGEST_MULTIPLE:
        raise Unfit(f"multipleOf {multiple} is too fine; without powers of ten it may be {LARGEST_MULTIPLE}")


def _count(schema: dict[str, Any], key: str) -> int:
    value = schema.get(key, 0)
    return value if isinstance(value, int) else 0


def _is_composed(schema: Any, depth: int = 0) -> bool:
    """Whether properties come from several schemas at once: none of them may then be closed to those of the others."""
    if not isinstance(schema, dict) or depth > DEEPEST_SCHEMA:
        return False
    if "allOf" in schema or ("properties" in schema and _COMPOSED & schema.keys()):
        return True
    return any(_is_composed(inside, depth + 1) for inside in _schemas_in(schema))


def _require_few_patterns(root: dict[str, Any]) -> None:
    """Look how many patterns may have to hold at once.

    Raises:
        Unfit: too many.
    """
    schemas = list(_all_schemas(root))
    patterns = sum(len(_PATTERNS & schema.keys()) + len(_pattern_properties(schema)) for schema in schemas)
    if patterns > MOST_PATTERNS and any(_adds_up(schema) for schema in schemas):
        raise Unfit(f"they have {patterns} patterns and formats, and with allOf or $ref there may be {MOST_PATTERNS}")


def _adds_up(schema: dict[str, Any]) -> bool:
    """Whether several schemas hold for the same value."""
    return "allOf" in schema or len((_COMPOSED | _PATTERNS | {"properties"}) & schema.keys()) > 1


def _pattern_properties(schema: dict[str, Any]) -> dict[str, Any]:
    found = schema.get("patternProperties")
    return found if isinstance(found, dict) else {}


def _all_schemas(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        yield schema
        for inside in _schemas_in(schema):
            yield from _all_schemas(inside)


def require_end(root: dict[str, Any]) -> None:
    """Look whether anything finite fits a well-formed schema: the least fixed point of the references that end.

    Raises:
        Unfit: nothing does, because it requires itself.
    """
    references = set(_references(root))
    if len(references) > MOST_REFERENCES:
        raise Unfit(f"they have {len(references)} different references and may have {MOST_REFERENCES}")
    ending: set[str] = set()
    while found := {each for each in references - ending if _ends(_referred(each, root), ending)}:
        ending |= found
    if not _ends(root, ending):
        raise Unfit("they require themselves, without end")


def _ends(schema: Any, ending: set[str]) -> bool:
    if not isinstance(schema, dict):
        return True
    needed = [(schema.get("properties") or {}).get(key) for key in (schema.get("required") or ())]
    needed += [schema.get("items")] if _count(schema, "minItems") else []
    return (
        schema.get("$ref") in {None, *ending}
        and all(_ends(each, ending) for each in (*needed, *(schema.get("allOf") or ())))
        and all(any(_ends(each, ending) for each in schema[key]) for key in ("anyOf", "oneOf") if schema.get(key))
    )


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        for inside in _schemas_in(schema):
            yield from _references(inside)


def _referred(reference: str, root: dict[str, Any]) -> Any:
    """What `reference` points to."""
    found: Any = root
    for name in filter(None, reference.removeprefix("#").split("/")):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _schemas_in(schema: dict[str, Any]) -> list[Any]:
    found = [schema[key] for key in _INSIDE if key in schema]
    for key in _INSIDE_LISTS:
        found += schema[key] if isinstance(schema.get(key), list) else []
    for key in _INSIDE_MAPS:
        found += schema[key].values() if isinstance(schema.get(key), dict) else []
    return found
