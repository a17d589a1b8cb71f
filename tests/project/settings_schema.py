"""The JSON Schema of dagcall.toml, made of the settings models, for editors.

`python -m tests.project.test_docs` writes it into the package, and into `docs/`.
"""

import json
from typing import Any

from pydantic import BaseModel

import dagcall.settings
from dagcall.settings.settings import Settings
from tests.project.test_docs import DOCS, MEANINGS, attribute_docstrings, models_of

PACKAGED = dagcall.settings.SCHEMA_FILE
FILES = (PACKAGED, DOCS / PACKAGED.name)


def settings_schema() -> dict[str, Any]:
    """Return the schema, with the settings' docstrings as descriptions, and without what TOML cannot say (null)."""
    schema = Settings.model_json_schema()
    models: dict[str, type[BaseModel]] = {model.__name__: model for model in models_of(Settings)}
    for name, model in models.items():
        found = schema if model is Settings else schema["$defs"][name]
        meanings = attribute_docstrings(model)
        for key, field in found["properties"].items():
            described = meanings.get(key) or MEANINGS.get(f"server.{key}")
            found["properties"][key] = _without_null(field) | ({"description": described} if described else {})
    head = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "dagcall.toml"}
    return {**head, **_untitled(schema)}


def schema_text() -> str:
    """Return the content of the files."""
    return json.dumps(settings_schema(), indent=1, ensure_ascii=False) + "\n"


def write() -> None:
    """Write the files."""
    for path in FILES:
        path.write_text(schema_text(), encoding="utf-8")


def _without_null(field: dict[str, Any]) -> dict[str, Any]:
    """Return a setting's schema without null, and without the default null."""
    options = [option for option in field.get("anyOf", ()) if option != {"type": "null"}]
    kept = {key: value for key, value in field.items() if key != "anyOf" and (key, value) != ("default", None)}
    return kept | (options[0] if len(options) == 1 else {"anyOf": options} if options else {})


def _untitled(value: Any) -> Any:
    """Return a schema without pydantic's titles, which repeat the names."""
    if isinstance(value, list):
        return [_untitled(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: _untitled(item) for key, item in value.items() if not (key == "title" and isinstance(item, str))}
