"""What the operator says of a tool: one `[[tools]]` entry of `dagcall.toml`.

Pure. An entry selects dags by exactly one of `dag` (an id), `dags` (a pattern such as `ml_*`) or `tag`, and says how
they are published. Nothing selected, nothing published.
"""

from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from dagcall.airflow import DagSummary
from dagcall.auth import Selectors
from dagcall.tools.client_limits import TOOL_NAME_LENGTH, is_tool_name
from dagcall.tools.naming import GENERIC_TOOL_NAMES


def _require_distinct(task_ids: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(task_ids)) != len(task_ids):
        raise ValueError("names a task twice")
    return task_ids


TaskIds = Annotated[tuple[str, ...], AfterValidator(_require_distinct)]


class Annotations(BaseModel):
    """What a client may assume of a tool (MCP's annotations). The defaults promise nothing: a dag can do anything.

    The operator's word on a hint outdoes the author's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    read_only: bool = False
    """It changes nothing anywhere."""
    destructive: bool = True
    """What it changes may be lost."""
    idempotent: bool = False
    """Calling it twice with the same arguments changes nothing more."""
    open_world: bool = True
    """It deals with things outside Airflow."""

    @model_validator(mode="after")
    def _require_sense(self) -> Self:
        if self.read_only and self.destructive and "destructive" in self.model_fields_set:
            raise ValueError("read_only and destructive contradict each other")
        return self


class ToolPolicy(BaseModel):
    """One `[[tools]]` entry."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dag: str | None = None
    """The id of one dag."""
    dags: str | None = None
    """A pattern of dag ids: `*` any text, `?` any character, `[ab]` one of them."""
    tag: str | None = None
    """A tag that the dags have in Airflow."""
    name: str | None = None
    """The tool's name; only with `dag`. Else it is made from the dag's id."""
    title: str | None = None
    """What people see; only with `dag`. Else the author's title (in `doc_md`), else the dag's display name."""
    description: str | None = None
    """What the model reads; only with `dag`. Else the dag's own description."""
    results: TaskIds | None = None
    """The tasks whose XComs are the answer. Else the author's choice (in `doc_md`), else the dag's declared result
    (Airflow 3.3) as far as it is not null, else its leaf tasks."""
    output_schema: dict[str, Any] | None = None
    """JSON Schema (2020-12) of the answer's `results`: an object, task id -> value. Else the author's, else any."""
    fixed: dict[str, Any] = Field(default_factory=dict)
    """Params that callers neither see nor set: name -> value."""
    hidden: frozenset[str] = frozenset()
    """Params that callers do not see and that keep their defaults."""
    wait_seconds: Annotated[float, Field(gt=0, le=86_400)] | None = None
    """How long a call waits before it answers `state: running`. Else 50 on stdio and 240 on HTTP."""
    logical_date: Literal["now", "none"] = "now"
    """`none`: the run has no logical date; `{{ ds }}` and its kin are then undefined in the dag, and start and end
    dates count for nothing."""
    on_cancel: Literal["leave", "fail"] = "leave"
    """What a caller who leaves does to the run: nothing, or set it to failed when nobody else waits for it."""
    repeat: Literal["adopt", "new", "key_only"] = "adopt"
    """Identical calls without a key: get the run whose caller left or gave up; always a new run; are refused."""
    reuse_seconds: Annotated[float, Field(ge=0, le=31_536_000)] = 0.0
    """For dags that only compute: answer an identical call from a run that succeeded so recently. Such an answer has
    `"reused": true`."""
    log_lines: Annotated[int, Field(ge=0, le=200)] | None = None
    """How many of the last lines of a failed task's log callers read; 0 for none. Else what `[server]` says."""
    return_when: Literal["run_finished", "results_ready"] = "run_finished"
    """`results_ready`: answer as soon as the tasks that `results` names have succeeded, while the rest of the run goes
    on."""
    callers: Selectors | None = None
    """Who sees and calls it; any of `key:<name>`, `scope:<scope>`, `group:<group>`, `id:<issuer>#<subject>`, `local`
    (everybody where nobody is asked who they are, as on stdio) and `*`. Else what `[auth]` says."""
    identity_param: str | None = None
    """A param that callers neither see nor set, and that dagcall fills with who calls: `key:<name>`,
    `<issuer>#<subject>` or `local`."""
    calls_per_minute: Annotated[int, Field(ge=1)] | None = None
    """How many runs one caller may start within a minute. Else what `[limits]` says."""
    max_concurrent: Annotated[int, Field(ge=1)] | None = None
    """How many unfinished runs one caller may have. Else what `[limits]` says."""
    annotations: Annotations = Annotations()

    @model_validator(mode="after")
    def _require_one_selector(self) -> Self:
        given = [key for key in ("dag", "dags", "tag") if getattr(self, key) is not None]
        if len(given) != 1:
            found = " and ".join(given) if given else "none of them"
            raise ValueError(f"give exactly one of dag, dags and tag; this entry has {found}")
        if any(getattr(self, key) == "" for key in given):
            raise ValueError(f"{given[0]} is empty")
        for key in ("name", "title", "description"):
            if self.dag is None and getattr(self, key) is not None:
                raise ValueError(f'{key} belongs to one tool: use it with dag = "…", not with {given[0]}')
        if self.name is not None and not is_tool_name(self.name):
            raise ValueError(
                f"name {self.name!r} is not a tool name: 1 to {TOOL_NAME_LENGTH} of A-Z, a-z, 0-9, _ and -, the first "
                "of them a letter"
            )
        if self.name in GENERIC_TOOL_NAMES:
            raise ValueError(f"name {self.name!r} is one of dagcall's own tools")
        if self.repeat == "new" and self.reuse_seconds:
            raise ValueError('repeat = "new" and reuse_seconds contradict each other')
        if self.identity_param is not None and self.identity_param in self.fixed.keys() | self.hidden:
            raise ValueError(f"identity_param {self.identity_param!r} is fixed or hidden, too; dagcall fills it itself")
        return self

    @property
    def selector(self) -> str:
        """The entry's selector as the operator wrote it, e.g. `tag = "mcp"`."""
        key = next(key for key in ("dag", "dags", "tag") if getattr(self, key) is not None)
        return f'{key} = "{getattr(self, key)}"'

    def selects(self, dag: DagSummary) -> bool:
        """Say whether this entry means the dag."""
        if self.dag is not None:
            return dag.dag_id == self.dag
        if self.dags is not None:
            return fnmatchcase(dag.dag_id, self.dags)
        return self.tag in dag.tags


def policy_from_text(text: str) -> ToolPolicy:
    """Read one selector of `DAGCALL_DAGS`: `some_dag`, `ml_*` or `tag:mcp`."""
    if text.startswith("tag:"):
        return ToolPolicy(tag=text.removeprefix("tag:").strip())
    if any(character in text for character in "*?["):
        return ToolPolicy(dags=text)
    return ToolPolicy(dag=text)
