"""The audit log: one line of JSON per request that starts, reads, answers or stops something, including refused ones.

A line says who asked for what, and the outcome; never a result. Arguments are logged as a keyed digest, with secrets
masked, or not at all. A renamed file is reopened, so that standard log rotation works. A line that cannot be written
goes into dagcall's own log, and the request continues: its run may already exist.

dagcall's own log gets a line for each request, too, without its arguments.
"""

import asyncio
import hmac
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from io import TextIOWrapper
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any, Literal, Self

from mcp import MCPError
from mcp_types import CallToolResult, InputRequiredResult, TextContent
from pydantic_core import to_json

from dagcall.errors import AirflowError, CallerError, ConfigError, DagcallError, RunError
from dagcall.masking import Masker
from dagcall.mcp.request import Origin
from dagcall.runs import CallTimes, run_id_in
from dagcall.settings import STDERR

logger = logging.getLogger(__name__)

calls = logging.getLogger("dagcall.calls")
"""Logs one line for each request."""
CALL_FIELDS = "call"
"""The attribute of these log records that has the fields of the audit log."""
MAX_ARGUMENTS = 20_000
MAX_TEXT = 300
ArgumentsAs = Literal["digest", "full", "none"]
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=str).encode


@dataclass(slots=True)
class AuditRecord:
    """The record of one request: a context manager that writes the line at the end of the block."""

    audit: "Audit"
    origin: Origin
    method: str
    arguments: object
    begun_at: datetime
    """In UTC."""
    started: float
    """The same moment, by the loop's clock."""
    tool: str | None = None
    dag: str | None = None
    run_id: str | None = None
    outcome: str = "done"
    error: str | None = None
    is_written: bool = True
    """False for a request that needs no line: polling a task that is still running."""
    published: str = ""
    """The published tool that was called, or that the request is about; empty if there is none of this name."""
    times: CallTimes = field(default_factory=CallTimes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, asyncio.CancelledError):
            self.outcome = "left"
        elif error is not None:
            self.is_written = True
            if self.error is None:
                self.failed(error)
        if self.is_written:
            self.audit.write(self)

    def got(self, run_id: str) -> None:
        """Record the run that a call has got, also for a caller that leaves before its outcome."""
        self.run_id = run_id

    def failed(self, error: BaseException) -> None:
        """Record why the request failed; a protocol error may have a cause."""
        self.error = str(error) or type(error).__name__
        reason = error.__cause__ or error if isinstance(error, MCPError) else error
        kinds = ((CallerError, "refused"), (MCPError, "refused"), (RunError, "failed"), (AirflowError, "airflow"))
        self.outcome = next((name for kind, name in kinds if isinstance(reason, kind)), "error")
        if isinstance(reason, DagcallError):
            self.run_id = self.run_id or reason.run_id

    def answered(self, outcome: CallToolResult | InputRequiredResult | Mapping[str, Any]) -> None:
        """Record the answer to a call; a mapping is a task."""
        if isinstance(outcome, InputRequiredResult):
            self.outcome = "input_required"
        elif isinstance(outcome, CallToolResult) and outcome.is_error:
            self.outcome, self.error = "failed", _text_of(outcome)
        elif isinstance(outcome, CallToolResult):
            content = outcome.structured_content or {}
            self.outcome = str(content.get("state", "done"))
            self.run_id = content.get("dag_run_id", self.run_id)
        else:
            self.outcome, self.run_id = "task", run_id_in(str(outcome.get("taskId")))

    def looked(self, task: Mapping[str, Any]) -> None:
        """Record the answer to `tasks/get`: of many polls, only the one that delivers the outcome is logged."""
        result = task.get("result") or {}
        state = (result.get("structuredContent") or {}).get("state")
        self.outcome = str(state or ("failed" if result.get("isError") else task["status"]))
        self.is_written = task["status"] in {"completed", "cancelled"}


class Audit:
    """Writes the log.

    Args:
        write: takes one line; None for no log.
        arguments: how to log arguments.
        masker: masks secrets in arguments and errors.
        key: the key for digests, so that arguments cannot be guessed from them.
        wall_clock: the time in UTC.
        listeners: called with each record and its duration in seconds, whether or not there is a log.
        is_logged: whether dagcall's own log gets a line for each request.
    """

    def __init__(
        self,
        write: Callable[[str], None] | None,
        *,
        arguments: ArgumentsAs,
        masker: Masker,
        key: bytes,
        wall_clock: Callable[[], datetime],
        listeners: Sequence[Callable[[AuditRecord, float], None]] = (),
        is_logged: bool = True,
    ) -> None:
        self._write = write
        self._arguments = arguments
        self._masker = masker
        self._keyed = hmac.new(key, digestmod="sha256")
        self._wall_clock = wall_clock
        self._listeners = listeners
        self._is_logged = is_logged

    def request(
        self,
        origin: Origin,
        method: str,
        arguments: object,
        *,
        tool: str | None = None,
        dag: str | None = None,
        about: str = "",
        published: str = "",
    ) -> AuditRecord:
        """Return the record of a request that begins.

        Args:
            origin: where the request comes from.
            method: the method, with the tool for a call.
            arguments: the arguments.
            tool: the tool concerned, known or not.
            dag: the tool's dag.
            about: a text that may contain the run id.
            published: the published tool that is called, or that the request is about; empty if there is none.
        """
        begun_at, started = self._wall_clock(), asyncio.get_running_loop().time()
        return AuditRecord(
            self, origin, method, arguments, begun_at, started, tool, dag, run_id_in(about), published=published
        )

    def write(self, line: AuditRecord) -> None:
        """Write a line, after its request has ended."""
        seconds = asyncio.get_running_loop().time() - line.started
        for listener in self._listeners:
            listener(line, seconds)
        is_logged = self._is_logged and calls.isEnabledFor(logging.INFO)
        if self._write is None and not is_logged:
            return
        fields = self._fields(line, seconds)
        if is_logged:
            calls.info("%s", _sentence(fields), extra={CALL_FIELDS: fields})
        if self._write is not None:
            self._write(_one_line(fields | self._shown(line.arguments)))

    def _fields(self, line: AuditRecord, seconds: float) -> dict[str, Any]:
        """Return what both logs say."""
        caller = line.origin.caller
        fields = {
            "time": line.begun_at.isoformat(timespec="milliseconds"),
            "method": line.method[:MAX_TEXT],
            "caller": caller.id,
            "label": caller.label,
            "client": line.origin.client,
            "request": line.origin.request_id,
            "trace": line.origin.trace_id,
            "tool": line.tool and line.tool[:MAX_TEXT],
            "dag": line.dag,
            "run": line.run_id and line.run_id[:MAX_TEXT],
            "outcome": line.outcome,
            "seconds": round(seconds, 3),
            "error": line.error and self._masker.masked(line.error.partition("\n")[0])[:MAX_TEXT],
        }
        return {name: value for name, value in fields.items() if value is not None}

    def _shown(self, arguments: object) -> dict[str, str]:
        if self._arguments == "none":
            return {}
        try:
            text = _encode(arguments)
        except (RecursionError, TypeError, ValueError):  # too deep, or a number too long: refused anyway
            return {"arguments": "(no JSON)"}
        if self._arguments == "digest":
            keyed = self._keyed.copy()
            keyed.update(text.encode())
            return {"arguments_digest": f"hmac-sha256:{keyed.hexdigest()}"}
        masked = self._masker.masked(text)
        return {"arguments": masked if len(masked) <= MAX_ARGUMENTS else f"{masked[:MAX_ARGUMENTS]}… (cut)"}


def _sentence(fields: Mapping[str, Any]) -> str:
    """Return a request as a line of a log for people."""
    about = ("tool", "run", "caller", "client", "request", "trace")
    shown = (name for name in about if name in fields and fields["method"] != f"tools/call {fields[name]}")
    said = ", ".join(f"{name} {fields[name]}" for name in shown)
    error = f": {fields['error']}" if "error" in fields else ""
    return f"{fields['method']}: {fields['outcome']} after {fields['seconds']:.3f} s ({said}){error}"


def _one_line(fields: Mapping[str, Any]) -> str:
    """Return JSON without control characters."""
    try:
        text = to_json(fields, ensure_ascii=True).decode()
    except ValueError:  # half of a surrogate pair
        text = json.dumps(fields, separators=(",", ":"))
    return text.replace("\x7f", "\\u007f")


@contextmanager
def opened(file: Path | None) -> Iterator[Callable[[str], None] | None]:
    """Open the log for the block, and yield a function that writes a line; None for no log.

    Raises:
        ConfigError: the file cannot be written.
    """
    if file is None:
        yield None
        return
    handler = _handler(file)
    try:
        # Not through a logger, whose configuration could drop lines.
        yield lambda line: handler.emit(logging.makeLogRecord({"msg": line}))
    finally:
        handler.close()


def _handler(file: Path) -> logging.Handler:
    if file == STDERR:
        return logging.StreamHandler(sys.stderr)
    try:
        return _File(file, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"audit.file: {file} cannot be written: {error.strerror}") from error


class _File(WatchedFileHandler):
    """A file that only its owner can read, also after rotation."""

    def _open(self) -> TextIOWrapper:
        def private(path: str, flags: int) -> int:
            return os.open(path, flags, 0o600)  # the mode applies only to a new file

        return TextIOWrapper(open(self.baseFilename, "ab", opener=private), encoding=self.encoding)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            super().emit(record)
        except OSError:  # the file could not be reopened
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        logger.error("audit.file: %s cannot be written: %s; %s", self.baseFilename, sys.exc_info()[1], record.msg)


def _text_of(result: CallToolResult) -> str:
    return "\n".join(block.text for block in result.content if isinstance(block, TextContent))
