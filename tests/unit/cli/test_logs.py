"""The log's two forms: text that cannot fake a line, and one JSON object per line."""

import json
import logging

import pytest

from dagcall.cli import logs
from dagcall.cli.logs import FORMATTERS, set_level
from dagcall.mcp import audit
from dagcall.settings import LogLevel


def record_of(message: str, **more: object) -> logging.LogRecord:
    return logging.makeLogRecord({"name": "dagcall.x", "levelname": "INFO", "msg": message, "created": 0.25, **more})


def test_json_line_has_time_level_logger_and_message() -> None:
    line = FORMATTERS["json"].format(record_of("a\nb\x7f\u2028"))
    assert line.isprintable()
    assert json.loads(line) == {
        "time": "1970-01-01T00:00:00.250+00:00",
        "level": "info",
        "logger": "dagcall.x",
        "message": "a\nb\x7f\u2028",
    }


def test_json_line_of_a_call_has_its_fields_and_its_own_time() -> None:
    fields = {"time": "the beginning", "outcome": "success", "seconds": 1.5}
    line = json.loads(FORMATTERS["json"].format(record_of("m", **{audit.CALL_FIELDS: fields})))
    assert (line["time"], line["outcome"], line["seconds"]) == ("1970-01-01T00:00:00.250+00:00", "success", 1.5)
    assert logs.CALL_FIELDS == audit.CALL_FIELDS


def test_json_line_of_an_error_has_its_traceback() -> None:
    error = ZeroDivisionError()
    line = json.loads(FORMATTERS["json"].format(record_of("m", exc_info=(type(error), error, None))))
    assert line["traceback"].endswith("ZeroDivisionError")


@pytest.mark.parametrize(
    ("level", "of_dagcall", "of_stamina"), [("debug", 10, 30), ("info", 20, 40), ("error", 40, 40)]
)
def test_level_applies_to_dagcall(level: LogLevel, of_dagcall: int, of_stamina: int) -> None:
    names = ("dagcall", "stamina")
    before = [logging.getLogger(name).level for name in names]
    try:
        set_level(level)
        assert [logging.getLogger(name).level for name in names] == [of_dagcall, of_stamina]
    finally:
        for name, old in zip(names, before, strict=True):
            logging.getLogger(name).setLevel(old)
