"""Every setting with its value and where it comes from, for people; secrets are masked."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr

from dagcall.plain_json import Json
from dagcall.settings.settings import Settings, file_content, variable_names

MASKED = "********"
_MAY_HOLD_SECRETS = frozenset({"token_command"})
"""Settings that are no secrets, but in which people write some."""


class Origin(StrEnum):
    """Where a value comes from."""

    FILE = "file"
    VARIABLE = "variable"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as it takes effect."""

    name: str
    """E.g. `server.port`, or `tools[0].dag`."""
    value: Json
    origin: Origin
    variable: str | None
    """The variable that sets it, or could; None in a table of entries, which only the file can have."""


def settings_with_origins(settings: Settings, path: Path | None, environ: Mapping[str, str]) -> list[Setting]:
    """Return every setting, and of the entries of `[[tools]]` and `[[accounts]]` those that are set.

    Args:
        settings: the settings as read.
        path: their file.
        environ: the environment.
    """
    content = {} if path is None else file_content(path)
    variables = {name: variable for variable, name in variable_names().items()}
    found = []
    for name, value, is_in_file in _values(settings, content):
        variable = variables.get(name)
        origin = Origin.FILE if is_in_file else Origin.DEFAULT
        if variable is not None and variable in environ:
            origin = Origin.VARIABLE
        found.append(Setting(name, value, origin, variable))
    return found


def _values(model: BaseModel, content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Json, bool]]:
    """Yield each setting's name and value, and whether the file has it."""
    for key in type(model).model_fields:
        value, name = getattr(model, key), f"{prefix}{key}"
        if isinstance(value, BaseModel):
            yield from _values(value, content.get(key, {}), f"{name}.")
        elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
            for number, entry in enumerate(value):
                for field in sorted(entry.model_fields_set):
                    yield f"{name}[{number}].{field}", _shown(field, getattr(entry, field)), True
        else:
            yield name, _shown(key, value), key in content


def _shown(key: str, value: Any) -> Json:
    """Return a value as JSON, without secrets."""
    if isinstance(value, SecretStr) or (key in _MAY_HOLD_SECRETS and value is not None):
        return MASKED
    if isinstance(value, BaseModel):
        return {name: _shown(name, getattr(value, name)) for name in sorted(value.model_fields_set)}
    if isinstance(value, (tuple, frozenset)):
        return sorted(value) if isinstance(value, frozenset) else [_shown(key, item) for item in value]
    return str(value) if isinstance(value, Path) else value
