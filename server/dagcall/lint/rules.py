"""The rules of `dagcall lint`: one row each, with what is wrong and what to write instead.

Pure. What dagcall mends when it publishes a tool (names, formats, nested schemas) needs no rule. What it withholds has
one, with the reason.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from dagcall.airflow import BrokenFile
from dagcall.lint.providers import (
    CLIENT_TIMEOUTS,
    MANY_TOKENS,
    MANY_TOKENS_OF_ONE_TOOL,
    MANY_TOOLS,
    PROVIDERS,
    Transport,
)
from dagcall.lint.tokens import estimated_tokens
from dagcall.plain_json import Json
from dagcall.text import shortened, text_length
from dagcall.tools import PAUSED, TYPE_SAYING_KEYS, Snapshot, wire_json, written_description

MAX_NAMES = 8
WHOLE_LIST = "all tools"
"""The subject of findings about the list."""


class Level(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    """A dag is not published as meant, or a provider refuses the list."""
    WARNING = "warning"
    """A model must guess, or a tool costs more than it should."""


@dataclass(frozen=True, slots=True)
class RecentRuns:
    """What is usual for the runs of a tool; None if too few succeeded."""

    seconds: float | None = None
    result_bytes: int | None = None


@dataclass(frozen=True)
class Evidence:
    """What the rules look at."""

    snapshot: Snapshot
    """The tools, not compared with their pins."""
    broken: Sequence[BrokenFile] = ()
    """Dag files that Airflow cannot import."""
    recent: Mapping[str, RecentRuns] = field(default_factory=dict)
    """Tool name -> its recent runs; empty without an Airflow."""
    max_result_bytes: int = 100_000
    wait_seconds: Mapping[Transport, float] = field(default_factory=dict)
    """How long a call waits unless the tool's entry sets it."""

    @cached_property
    def tokens(self) -> dict[str, int]:
        """About how many tokens each tool costs, dagcall's own included."""
        wires = [*(tool.wire for tool in self.snapshot.tools.values()), *self.snapshot.own]
        return {wire.name: estimated_tokens(wire_json(wire)) for wire in wires}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to change."""

    subject: str
    """A tool, a dag or selector that is not published, a dag file, or `WHOLE_LIST`."""
    level: Level
    rule: str
    what: str
    """What is wrong, as a clause."""
    instead: str
    """What to write instead."""
    page: str
    """Where the rule is published; empty for dagcall's own."""


Words = Mapping[str, object]
"""What a rule puts into its texts."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule. `what` and `instead` contain the words that `find` yields with each subject."""

    name: str
    level: Level
    find: Callable[[Evidence], Iterator[tuple[str, Words]]]
    what: str
    instead: str
    page: str = ""


def findings_about(evidence: Evidence) -> list[Finding]:
    """Return all findings, by subject; those about the whole list come last."""
    found = [
        Finding(
            subject,
            rule.level,
            rule.name,
            rule.what.format_map(words),
            rule.instead.format_map(words),
            str(words.get("page", rule.page)),
        )
        for rule in RULES
        for subject, words in rule.find(evidence)
    ]
    return sorted(found, key=lambda finding: (finding.subject == WHOLE_LIST, finding.subject, finding.level))


# What is not published


def _broken(evidence: Evidence) -> Iterator[tuple[str, Words]]:
    return ((file.name, {"reason": shortened(file.reason)}) for file in evidence.broken)


def _withheld(evidence: Evidence) -> Iterator[tuple[str, Words]]:
    parts = {f"{tool.dag_id}: {part.what}" for tool in evidence.snapshot.tools.values() for part in tool.left_out}
    for item in evidence.snapshot.withheld:
        if item.what not in parts and item.reason != PAUSED:
            yield item.what, {"reason": item.reason}


def _paused(evidence: Evidence) -> Iterator[tuple[str, Words]]:
    return ((item.what, {}) for item in evidence.snapshot.withheld if item.reason == PAUSED)


def _left_out(evidence: Evidence) -> Iterator[tuple[str, Words]]:
    for tool in evidence.snapshot.tools.values():
        yield from ((tool.name, {"part": part.what, "reason": part.reason}) for part in tool.left_out)


# What a model reads


def _words_of(text: str) -> set[str]:
    return set(re.findall(r"[^\W_]+", text.casefold()))


_FILLERS = frozenset({"a", "an", "the", "this", "of", "for", "and", "to", "my", "dag", "run", "runs", "airflow"})


def _without_description(evidence: Evidence) -> Iterator[tuple[str, Words]]:
    return (
        (tool.name, {}) for tool in evidence.snapshot.tools.values() if not written_description(tool.dag, tool.policy)
    )


def _repeats_name(evidence: Evidence) -> Iterator[tuple[str, Words]]:
    for tool in evidence.snapshot.tools.values():
        words = _words_of(written_description(tool.dag, tool.policy))
        if words and words <= _words_of(f"{tool.dag_id} {tool.name} {tool.wire.title}") | _FILLERS:
            yield tool.name, {}


def _cut(evidence: Evidence) -> Iterator[tuple[str, Words]]:
    for tool in evidence.snapshot.tools.values():
        written, published = written_description(tool.dag, tool.policy), tool.wire.description or ""
        if written and not published.startswith(written):
            room = text_length(published.rsplit("\n\n", 1)[0])
            yield tool.name, {"written": f"{text_length(written):,}", "room": f"{room:,}"}


def _undescribed(evidence: Evidence) -> Iterator[tuple[str, Words]]:
    for tool in evidence.snapshot.tools.values():
        told = tool.wire.description or ""
        undescribed = [prop.param for prop in tool.input.properties.values() if not prop.schema.get("description")]
        if params := [param for param in undescribed if f"`{param}`" not in told]:
            yield tool.name, {"params": _named(params)}


def _untyped(schema: Mapping[str, Json]) -> bool:
    return not TYPE_SAYING_KEYS & schema.keys()


_SHOWING = frozenset({"enum", "const", "$ref", "anyOf", "oneOf", "allOf"})


def _is_open(schema: Mapping[str, Json], kind: str, inner: Collection[str]) -> bool:
    """Return whether a schema takes any object or list, and neither a default nor an example shows one."""
    kinds = schema.get("type", ())
    is_of_kind = kind in ([kinds] if isinstance(kinds, str) else kinds)
    is_shown = bool(_SHOWING & schema.keys()) or any(schema.get(key) for key in (*inner, "default", "examples"))
    return is_of_kind and not is_shown


def _open_object(schema: Mapping[str, Json]) -> bool:
    more = schema.get("additionalProperties")
    is_told = isinstance(more, Mapping) and bool(more)
    return not is_told and _is_open(schema, "object", ("properties", "patternProperties", "propertyNames"))


def _open_list(schema: Mapping[str, Json]) -> bool:
    return _is_open(schema, "array", ("items", "prefixItems", "contains"))


def _in_params(is_found: Callable[[Mapping[str, Json]], bool]) -> Callable[[Evidence], Iterator[tuple[str, Words]]]:
    """Return what looks at the schema of each param, and at the keys and items within it."""

    def find(evidence: Evidence) -> Iterator[tuple[str, Words]]:
        for tool in evidence.snapshot.tools.values():
            places = [place for prop in tool.input.properties.values() for place in _places(prop.param, prop.schema)]
            if params := [name for name, schema in places if is_found(schema)]:
                yield tool.name, {"params": _named(params)}

    return find


def _places(place: str, schema: Mapping[str, Json]) -> Iterator[tuple[str, Mapping[str, Json]]]:
    """Yield a schema and those of its keys and items, with names such as `orders[].customer`."""
    yield place, schema
    inner = {f"{place}.{name}": key for name, key in schema.get("properties", {}).items()}
    for name, part in (inner | {f"{place}[]": schema.get("items")}).items():
        if isinstance(part, Mapping) and (part or name in inner):
            yield from _places(name, part)


def _argument_names(evidence: Evidence) -> Iterator[tuple[str, Words]]:
    for tool in evidence.snapshot.tools.values():
        for provider in PROVIDERS:
            pattern = provider.argument_name
            refused = [name for name in tool.input.properties if pattern is not None and not pattern.fullmatch(name)]
            if refused:
                yield tool.name, {"params": _named(refused), "provider": provider.name, "page": provider.page}


def _named(params: Sequence[str]) -> str:
    """Return `param a`, or `params a, b`."""
    more = f", and {len(params) - MAX_NAMES} more" if len(params) > MAX_NAMES else ""
    return f"{'param' if len(params) == 1 else 'params'} {', '.join(params[:MAX_NAMES])}{more}"


# What the list costs


def _too_many(evidence: Evidence) -> Iterator[tuple[str, Words]]:
    count = len(evidence.tokens)
    refusing = [provider for provider in PROVIDERS if provider.most_tools is not None and count > provider.most_tools]
    if refusing:
        names = ", ".join(f"{provider.name} ({provider.most_tools})" for provider in refusing)
        yield WHOLE_LIST, {"count": count, "providers": names, "page": refusing[0].page}


def _many(evidence: Evidence) -> Iterator[tuple[str, Words]]:
    if len(evidence.tokens) > MANY_TOOLS:
        yield WHOLE_LIST, {"count": len(evidence.tokens), "most": MANY_TOOLS}


def _costly_list(evidence: Evidence) -> Iterator[tuple[str, Words]]:
    if (total := sum(evidence.tokens.values())) > MANY_TOKENS:
        yield WHOLE_LIST, {"total": f"{total:,}", "most": f"{MANY_TOKENS:,}"}


def _costly_tool(evidence: Evidence) -> Iterator[tuple[str, Words]]:
    for name, tokens in evidence.tokens.items():
        if tokens > MANY_TOKENS_OF_ONE_TOOL:
            yield name, {"tokens": f"{tokens:,}"}


# What runs were like


def _slow(evidence: Evidence) -> Iterator[tuple[str, Words]]:
    for tool in evidence.snapshot.tools.values():
        seconds = evidence.recent.get(tool.name, RecentRuns()).seconds
        if seconds is None:
            continue
        waits = {over: tool.policy.wait_seconds or wait for over, wait in evidence.wait_seconds.items()}
        clients = [
            f"{client.client} ({client.seconds:g} s)"
            for client in CLIENT_TIMEOUTS
            if client.seconds < min(seconds, waits.get(client.transport, 0))
        ]
        if clients:
            yield tool.name, {"seconds": f"{seconds:.0f}", "clients": ", ".join(clients)}


def _large(evidence: Evidence) -> Iterator[tuple[str, Words]]:
    for tool in evidence.snapshot.tools.values():
        size = evidence.recent.get(tool.name, RecentRuns()).result_bytes
        if size is not None and size > evidence.max_result_bytes:
            yield tool.name, {"size": f"{size:,}", "most": f"{evidence.max_result_bytes:,}"}


# fmt: off
RULES = (
    Rule("broken-file", Level.ERROR, _broken,
         "Airflow cannot import it: {reason}",
         "mend the file; until then, none of its dags becomes a tool"),
    Rule("withheld", Level.ERROR, _withheld,
         "not published: {reason}",
         "change the dag or its [[tools]] entry, as the reason says"),
    Rule("paused", Level.WARNING, _paused,
         "not published: it is paused in Airflow",
         "unpause it in Airflow, or remove it from the allow-list"),
    Rule("left-out", Level.ERROR, _left_out,
         "published without {part}: {reason}",
         "correct it"),
    Rule("no-description", Level.WARNING, _without_description,
         "no description: a model knows only its name",
         'dag(description="…"), or a first paragraph in doc_md: what it does, when to use it, what it returns',
         "https://platform.claude.com/docs/en/agents-and-tools/tool-use/define-tools"),
    Rule("repeats-name", Level.WARNING, _repeats_name,
         "its description only repeats its name",
         "say what it does, when to use it, and what it returns",
         "https://platform.claude.com/docs/en/agents-and-tools/tool-use/define-tools"),
    Rule("cut-description", Level.WARNING, _cut,
         "its description has {written} characters; only the first {room} are published",
         "shorten description and the first paragraph of doc_md; details belong in later paragraphs"),
    Rule("undescribed-param", Level.WARNING, _undescribed,
         "{params}: no description",
         'Param(…, description="…"), or explain it as `name` in the dag\'s description'),
    Rule("untyped-param", Level.WARNING, _in_params(_untyped),
         "{params}: no type, so a model may send anything",
         'Param(None, type=["null", "string"]), or the type that the dag expects'),
    Rule("open-object", Level.WARNING, _in_params(_open_object),
         "{params}: takes any object, so a model must guess the keys",
         'Param(…, type="object", properties={{…}}); for free keys, additionalProperties={{…}}'),
    Rule("open-list", Level.WARNING, _in_params(_open_list),
         "{params}: takes a list of anything, so a model must guess the items",
         'Param(…, type="array", items={{"type": …}})'),
    Rule("param-name", Level.WARNING, _argument_names,
         "{params}: {provider} documents argument names of other characters",
         "use letters, digits and _ only, and begin with a letter"),
    Rule("too-many-tools", Level.ERROR, _too_many,
         "{count} tools, dagcall's own included, are more than one request may have: {providers}",
         "publish fewer, or give callers different tools (callers in [[tools]])"),
    Rule("many-tools", Level.WARNING, _many,
         "{count} tools, dagcall's own included: above {most}, models pick the right one less often",
         "publish fewer, or give callers different tools (callers in [[tools]])",
         "https://platform.claude.com/docs/en/agents-and-tools/tool-use/tool-search-tool"),
    Rule("costly-list", Level.WARNING, _costly_list,
         "about {total} tokens in every conversation, more than {most}",
         "publish fewer tools, or shorten the longest",
         "https://www.anthropic.com/engineering/advanced-tool-use"),
    Rule("costly-tool", Level.WARNING, _costly_tool,
         "about {tokens} tokens in every conversation",
         "shorten its schema: fewer enum values and nested keys, shorter descriptions; hide params that nobody sets"),
    Rule("slow-run", Level.WARNING, _slow,
         "its runs usually take {seconds} s, which outlasts the time-outs of {clients}",
         "raise these clients' time-outs (docs/clients.md), or set wait_seconds below them in its [[tools]] entry"),
    Rule("large-result", Level.WARNING, _large,
         "its results usually have {size} bytes, more than server.max_result_bytes ({most}): models get a preview",
         "return less, or a summary and a link; or name the task with the smaller value in results"),
)
# fmt: on
"""Every rule."""
