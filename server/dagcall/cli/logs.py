"""dagcall's log on stderr: as text for people, or one JSON object per line for log collectors.

On stdio, stdout is reserved for the protocol.
"""

import json
import logging
import sys
from datetime import UTC, datetime

from dagcall.settings import LogFormat, LogLevel
from dagcall.text import visible

CALL_FIELDS = "call"
"""The attribute of log records about calls, as `dagcall.mcp` sets it; importing that would slow down every command."""
TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class LogFormatter(logging.Formatter):
    """Makes log text safe: a message can neither control the terminal nor fake another log line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the message with its traceback; all lines except the first are indented."""
        return visible(super().format(record)).replace("\n", "\n    ")


class JsonFormatter(logging.Formatter):
    """Writes each message as a JSON object on one line, a call's line with the call's fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object: time, level, logger and message, then what the message comes with."""
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        # A call's own `time` is when it began; lines are in the order of theirs.
        fields |= {name: value for name, value in getattr(record, CALL_FIELDS, {}).items() if name not in fields}
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str).replace("\x7f", "\\u007f")


FORMATTERS: dict[LogFormat, logging.Formatter] = {"text": LogFormatter(TEXT), "json": JsonFormatter()}


def begin_logging() -> None:
    """Log errors to stderr, for every command."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(FORMATTERS["text"])
    logging.basicConfig(handlers=[handler], level=logging.ERROR)


def set_up_logging(level: LogLevel, log_format: LogFormat) -> None:
    """Configure the log of `serve`."""
    for handler in logging.getLogger().handlers:
        handler.setFormatter(FORMATTERS[log_format])
    logging.getLogger().setLevel(logging.WARNING)
    set_level(level)


def set_level(level: LogLevel) -> None:
    """Log messages of this level and above; those of libraries only from `warning` on."""
    logging.getLogger("stamina").setLevel(logging.WARNING if level == "debug" else logging.ERROR)
    logging.getLogger("dagcall").setLevel(level.upper())
