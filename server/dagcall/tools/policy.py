"""The operator's policy for a tool: one `[[tools]]` entry of `dagcall.toml`.

Pure. An entry selects dags by exactly one of `dag` (an id), `dags` (a pattern such as `ml_*`) or `tag`, and sets how
they are published. Without an entry, nothing is published.
"""

from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from dagcall.airflow import DagSummary
from dagcall.auth import Selectors
from dagcall.tools.client_limits import TOOL_NAME_LENGTH, is_tool_name
from dagcall.tools.naming import GENERIC_TOOL_NAMES, tool_name_from_dag_id


def _require_distinct(task_ids: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(task_ids)) != len(task_ids):
        raise ValueError("names a task twice")
    return task_ids


TaskIds = Annotated[tuple[str, ...], AfterValidator(_require_distinct)]


class Annotations(BaseModel):
    """What a client may assume about a tool (MCP's annotations). The defaults promise nothing: a dag can do anything.

    The operator's hints override the author's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    read_only: bool = False
    """The tool changes nothing anywhere."""
    destructive: bool = True
    """The tool may delete or overwrite data."""
    idempotent: bool = False
    """Repeating a call with the same arguments has no further effect."""
    open_world: bool = True
    """The tool interacts with systems outside Airflow."""

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
    """A pattern of dag ids: `*` matches any text, `?` any character, `[ab]` one of these."""
    tag: str | None = None
    """A tag of dags in Airflow."""
    name: str | None = None
    """The tool's name; only with `dag`. Default: made from the dag id."""
    title: str | None = None
    """The title for people; only with `dag`. Default: the author's title (in `doc_md`), then the dag's display name."""
    description: str | None = None
    """The description for the model; only with `dag`. Default: the dag's own description."""
    results: TaskIds | None = None
    """The tasks whose XComs are the answer. Default: the author's choice (in `doc_md`), then the dag's declared result
    (Airflow 3.3) if it is not null, then its leaf tasks."""
    output_schema: dict[str, Any] | None = None
    """JSON Schema (2020-12) of the answer's `results`: an object, task id -> value. Default: the author's, then any."""
    fixed: dict[str, Any] = Field(default_factory=dict)
    """Params with fixed values, which callers neither see nor set: name -> value."""
    hidden: frozenset[str] = frozenset()
    """Params that keep their defaults and that callers do not see."""
    wait_seconds: Annotated[float, Field(gt=0, le=86_400)] | None = None
    """How long a call waits before it answers `state: running`. Default: server.wait_seconds."""
    logical_date: Literal["now", "none"] = "now"
    """`none`: the run has no logical date. `{{ ds }}` and similar variables are then undefined in the dag, and Airflow
    ignores start and end dates."""
    on_cancel: Literal["leave", "fail"] = "leave"
    """What happens to the run when its caller disconnects or cancels: nothing (`leave`), or, if no other caller waits
    for it, dagcall sets it to failed (`fail`)."""
    repeat: Literal["adopt", "new", "key_only"] = "adopt"
    """Identical calls without a key: `adopt` returns a run whose caller left or gave up, `new` always starts a run,
    `key_only` refuses the call."""
    reuse_seconds: Annotated[float, Field(ge=0, le=31_536_000)] = 0.0
    """For dags without side effects: answer an identical call from a run that succeeded within this time, with
    `"reused": true`."""
    log_lines: Annotated[int, Field(ge=0, le=200)] | None = None
    """How many of the last lines of a failed task's log an answer contains; 0 for none. Default: server.log_lines."""
    return_when: Literal["run_finished", "results_ready"] = "run_finished"
    """`results_ready`: answer as soon as the tasks in `results` have succeeded, while the rest of the run continues."""
    callers: Selectors | None = None
    """Who sees and calls the tool; any of `key:<name>`, `scope:<scope>`, `group:<group>`, `id:<issuer>#<subject>`,
    `local` (every caller without authentication, as on stdio) and `*`. Default: auth.callers."""
    identity_param: str | None = None
    """A param that callers neither see nor set: dagcall fills it with the caller's id, `key:<name>`,
    `<issuer>#<subject>` or `local`."""
    calls_per_minute: Annotated[int, Field(ge=1)] | None = None
    """Maximum runs that one caller may start per minute. Default: limits.calls_per_minute."""
    max_concurrent: Annotated[int, Field(ge=1)] | None = None
    """Maximum unfinished runs per caller. Default: limits.max_concurrent."""
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
                f"name {self.name!r} is not a tool name: use 1 to {TOOL_NAME_LENGTH} of A-Z, a-z, 0-9, _ and -, "
                "starting with a letter"
            )
        if self.name in GENERIC_TOOL_NAMES:
            raise ValueError(f"name {self.name!r} is one of dagcall's own tools")
        if self.repeat == "new" and self.reuse_seconds:
            raise ValueError('repeat = "new" and reuse_seconds contradict each other')
        if self.identity_param is not None and self.identity_param in self.fixed.keys() | self.hidden:
            raise ValueError(f"identity_param {self.identity_param!r} is also fixed or hidden; dagcall fills it itself")
        return self

    @property
    def selector(self) -> str:
        """The selector as the operator wrote it, e.g. `tag = "mcp"`."""
        key = next(key for key in ("dag", "dags", "tag") if getattr(self, key) is not None)
        return f'{key} = "{getattr(self, key)}"'

    def selects(self, dag: DagSummary) -> bool:
        """Return whether this entry selects the dag."""
        if self.dag is not None:
            return dag.dag_id == self.dag
        if self.dags is not None:
            return fnmatchcase(dag.dag_id, self.dags)
        return self.tag in dag.tags

    def tool_name(self, dag_id: str) -> str:
        """Return the name of the tool that this entry makes of a dag."""
        return self.name or tool_name_from_dag_id(dag_id)


def policy_from_text(text: str) -> ToolPolicy:
    """Read one selector of `DAGCALL_DAGS`: `some_dag`, `ml_*` or `tag:mcp`."""
    if text.startswith("tag:"):
        return ToolPolicy(tag=text.removeprefix("tag:").strip())
    if any(character in text for character in "*?["):
        return ToolPolicy(dags=text)
    return ToolPolicy(dag=text)
