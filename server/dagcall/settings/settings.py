"""The settings: `dagcall.toml` and `DAGCALL_*` variables, read once and validated together.

Only this module and the demo read the environment. Variables override the file. An unknown key or variable is an
error with a suggestion; contradictions are errors, one sentence each. Secrets are masked wherever settings are shown.
"""

import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Self, get_args

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from dagcall.errors import ConfigError
from dagcall.settings.airflow import AirflowSettings
from dagcall.settings.auth import ALLOW_ANYONE, AuthSettings, is_every_address, is_loopback
from dagcall.settings.limits import STDERR, AccountSettings, AuditSettings, LimitSettings, LogSettings
from dagcall.settings.metrics import Access, MetricsSettings
from dagcall.settings.server import ServerSettings
from dagcall.text import did_you_mean
from dagcall.tools import ToolPolicy, policy_from_text

PREFIX = "DAGCALL_"
CONFIG_VARIABLE = "DAGCALL_CONFIG"
FILE_NAME = "dagcall.toml"
_TABLES = frozenset({"tools", "accounts"})
"""Only the file can set these."""
_OTHER_VARIABLES = frozenset({CONFIG_VARIABLE})


class Settings(BaseSettings):
    """Everything that an operator can set."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="_",
        env_nested_max_split=1,
        extra="forbid",
        frozen=True,
        env_parse_none_str=None,
    )

    airflow: AirflowSettings = AirflowSettings()
    server: ServerSettings = ServerSettings()
    auth: AuthSettings = AuthSettings()
    limits: LimitSettings = LimitSettings()
    audit: AuditSettings = AuditSettings()
    metrics: MetricsSettings = MetricsSettings()
    log: LogSettings = LogSettings()
    accounts: tuple[AccountSettings, ...] = ()
    """Airflow accounts for callers, `[[accounts]]` in the file. Empty: dagcall's own account for all callers."""
    tools: tuple[ToolPolicy, ...] = ()
    """The allow-list, `[[tools]]` in the file. Empty: nothing is published."""
    dags: Annotated[tuple[str, ...], NoDecode] = ()
    """Further entries of the allow-list, for use without a file: DAGCALL_DAGS=summarize_text,ml_*,tag:mcp."""
    refresh_seconds: Annotated[float, Field(ge=1, le=86_400)] = 30.0
    """How often the dags are listed, and changed ones reread; less often for more than about 300 dags."""
    remember: bool = True
    """Cache the dags in a file, so that a restarted server lists its tools immediately."""
    cache_folder: Path | None = None
    """The folder of the cache files, one per Airflow, account and allow-list. Default: the folder `dagcall` in
    `$XDG_CACHE_HOME` or `~/.cache`."""
    pins: Path | None = None
    """The folder of pinned tool schemas, which `dagcall pin` writes. If set, only tools that equal their file are
    published, unless dagcall serves with --unpinned. A changed file takes effect at the next refresh."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let variables override the file, whose content comes in as arguments."""
        return env_settings, init_settings

    @model_validator(mode="before")
    @classmethod
    def _expand_home(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Expand `~` in every path, wherever it was set."""
        return _with_paths(data, lambda path: path.expanduser())

    @field_validator("dags", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _require_no_contradiction(self) -> Self:
        by_name: dict[str, ToolPolicy] = {}
        unnamed: set[str] = set()
        for policy in self.tools:
            if policy.name is not None:
                if policy.name in by_name:
                    raise ValueError(
                        f"two tools are named {policy.name!r}: dag {by_name[policy.name].dag!r} and dag {policy.dag!r}"
                    )
                by_name[policy.name] = policy
            elif policy.dag is not None:
                if policy.dag in unnamed:
                    raise ValueError(f"dag {policy.dag!r} is listed twice; give each entry a name of its own")
                unnamed.add(policy.dag)
        return self

    @property
    def folder_for_caches(self) -> Path:
        """The folder in which the dags are cached for the next start."""
        if self.cache_folder is not None:
            return self.cache_folder
        caches = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()  # noqa: TID251 - the one place
        return Path(caches) / "dagcall"

    @property
    def metrics_access(self) -> Access:
        """Who may read `/metrics` on dagcall's own port."""
        is_within = is_loopback(self.server.host) and self.server.public_url is None
        return self.metrics.access(is_authenticated=self.auth.is_on, is_within=is_within)

    @property
    def policies(self) -> tuple[ToolPolicy, ...]:
        """The whole allow-list: the file's entries, then those of `dags` that the file lacks."""
        extra = (policy_from_text(text) for text in dict.fromkeys(self.dags))
        listed = {policy.selector for policy in self.tools}
        return self.tools + tuple(policy for policy in extra if policy.selector not in listed)


def load_settings(
    path: Path | None, *, server: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """Read the settings.

    Args:
        path: the file; None to use only the environment.
        server: command-line options for `[server]`; they override everything.
        environ: searched for unknown variables instead of `os.environ`.

    Raises:
        ConfigError: with one sentence per mistake.
    """
    source = path.name if path else "the environment"
    _require_known_variables(os.environ if environ is None else environ)  # noqa: TID251 - the one place
    settings = settings_from({} if path is None else file_content(path), source)
    try:
        chosen = ServerSettings(**(settings.server.model_dump() | dict(server or {})))
    except ValidationError as error:
        raise ConfigError(_sentences("the command line", error)) from error
    _require_answerable_host(chosen, settings.auth, source)
    return settings.model_copy(update={"server": chosen})


def settings_from(content: Mapping[str, Any], source: str) -> Settings:
    """Return the settings that a file with this content and the environment's variables make.

    Args:
        content: the content of a settings file.
        source: its name in messages.

    Raises:
        ConfigError: with one sentence per mistake.
    """
    try:
        return Settings(**content)
    except ValidationError as error:
        raise ConfigError(_sentences(source, error)) from error
    except ValueError as error:  # pydantic-settings: a variable is not JSON where JSON is required
        raise ConfigError(f"the environment: {error}") from error


def _require_answerable_host(server: ServerSettings, auth: AuthSettings, source: str) -> None:
    """Refuse to listen beyond this machine without authentication, or where every request would be refused."""
    if is_loopback(server.host):
        return
    if not auth.is_on and auth.allow_anyone is None:
        raise ConfigError(
            f"{source}: server.host: {server.host!r} is reachable from other machines (unlike 127.0.0.1, ::1 and "
            "localhost), but authentication is off: set auth.keys_file (dagcall key NAME makes a key) or "
            f'auth.issuer. To allow anyone, set auth.allow_anyone = "{ALLOW_ANYONE}"'
        )
    if is_every_address(server.host) and server.public_url is None and not server.allowed_hosts:
        raise ConfigError(
            f"{source}: server.host: {server.host!r} means every address of this machine; set the one that callers "
            'use: server.public_url = "https://dagcall.example.com/mcp", or server.allowed_hosts'
        )
    if is_every_address(server.host) and server.public_url is None and auth.issuer is not None:
        raise ConfigError(
            f"{source}: auth.issuer needs server.public_url, because server.host ({server.host!r}) means every address "
            "of this machine: MCP clients request tokens for the address that they use"
        )


def find_config(given: Path | None) -> Path | None:
    """Return the file to read: the one given, `DAGCALL_CONFIG`, or `dagcall.toml` in the current folder.

    Links are not followed: in Kubernetes, the folder to which they point disappears when a file beside it changes.

    Raises:
        ConfigError: the named file does not exist.
    """
    named = given or (Path(text).expanduser() if (text := os.environ.get(CONFIG_VARIABLE)) else None)  # noqa: TID251 - the one place
    if named is not None:
        if not named.is_file():
            where = "" if given else f" (from {CONFIG_VARIABLE})"
            raise ConfigError(f"settings file not found: {named}{where}")
        return named.absolute()
    here = Path(FILE_NAME)
    return here.absolute() if here.is_file() else None


def is_configured_by_environment() -> bool:
    """Return whether a variable sets Airflow's address or the allow-list."""
    return bool({"DAGCALL_AIRFLOW_URL", "DAGCALL_DAGS"} & os.environ.keys())  # noqa: TID251 - the one place


def read_secret(path: Path, setting: str) -> str:
    """Return the content of a file that contains one secret.

    Raises:
        ConfigError: it cannot be read, or is empty.
    """
    try:
        secret = path.read_text(encoding="utf-8-sig").strip()  # Windows editors write a BOM
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigError(f"{setting}: {path} cannot be read: {reason}") from error
    if not secret:
        raise ConfigError(f"{setting}: {path} is empty")
    return secret


def variable_names() -> dict[str, str]:
    """Return every `DAGCALL_*` variable and the setting that it sets."""
    names = {CONFIG_VARIABLE: "the settings file"}
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            for key in field.annotation.model_fields:
                names[f"{PREFIX}{name}_{key}".upper()] = f"{name}.{key}"
        elif name not in _TABLES:
            names[f"{PREFIX}{name}".upper()] = name
    return names


def _require_known_variables(environ: Mapping[str, str]) -> None:
    known = variable_names()
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known:
            raise ConfigError(f"the environment: {name} is not a dagcall setting{did_you_mean(name, known)}")


def file_content(path: Path) -> dict[str, Any]:
    """Return the content of a settings file, with relative paths made absolute.

    Raises:
        ConfigError: it cannot be read, or is not TOML.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # Windows editors write a BOM
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    return _with_paths(data, lambda found: found if found == STDERR or str(found)[0] == "~" else path.parent / found)


def _with_paths(
    data: dict[str, Any], change: Callable[[Path], Path], model: type[BaseModel] = Settings
) -> dict[str, Any]:
    """Return settings as read, with every path changed.

    Raises:
        ValueError: a path begins with a home folder that does not exist.
    """
    return {name: _with_path(value, change, model.model_fields.get(name)) for name, value in data.items()}


def _with_path(value: Any, change: Callable[[Path], Path], field: FieldInfo | None) -> Any:
    """Return one setting, likewise. Invalid values are left for pydantic to report."""
    kinds, table = _kinds(field), _table(field)
    if table is not None and isinstance(value, dict):
        return _with_paths(value, change, table)
    if table is not None and isinstance(value, list):
        return [_with_paths(each, change, table) if isinstance(each, dict) else each for each in value]
    if Path in kinds and isinstance(value, (str, Path)):
        try:
            return change(Path(value))
        except RuntimeError as error:  # an unknown ~user, or no home folder
            raise ValueError(f"{str(value)!r}: {error}") from error
    return value


def _kinds(field: FieldInfo | None) -> list[Any]:
    """Return the types of a setting, and of its items."""
    return [] if field is None else [field.annotation, *get_args(field.annotation)]


def _table(field: FieldInfo | None) -> type[BaseModel] | None:
    """Return the model of a table; None for any other setting."""
    return next((kind for kind in _kinds(field) if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _sentences(source: str, error: ValidationError) -> str:
    return "\n".join(f"{source}: {_sentence(item)}" for item in error.errors(include_url=False))


def _sentence(error: Any) -> str:
    """Turn one pydantic error into a sentence that names the setting."""
    location = [part for part in error["loc"] if part != "function-after"]
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        return f"{where} is not a dagcall setting{did_you_mean(str(location[-1]), _siblings(location))}"
    if error["type"] in {"string_too_short", "too_short"} and error["ctx"]["min_length"] == 1:
        message = "is empty"
    return f"{where}: {message}" if where else str(message)


def _siblings(location: list[Any]) -> list[str]:
    """Return the names of the settings in the table of an unknown one."""
    table = _table(Settings.model_fields.get(location[0])) if len(location) > 1 else None
    model = table or Settings
    if "annotations" in location[:-1]:
        model = ToolPolicy.model_fields["annotations"].default.__class__
    return [name for name in model.model_fields if not (model is Settings and name == "dags")]
