"""The systemd unit, checked by systemd's own program where there is one."""

import configparser
import shutil
from pathlib import Path

import pytest

from dagcall.cli.serve import LAST_ANSWERS_SECONDS
from dagcall.settings.server import ServerSettings
from tests.packaging.packages import DEPLOY
from tests.packaging.tools import Tools

UNIT = DEPLOY / "systemd" / "dagcall.service"
COMMAND = "/opt/dagcall/bin/dagcall"
EXPOSURE = 15
"""Tenths, of 100: systemd calls up to 20 OK. What remains is mostly that dagcall uses the network."""

with_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")


@with_systemd
def test_systemd_accepts_the_unit(tools: Tools, tmp_path: Path) -> None:
    path = tmp_path / UNIT.name
    path.write_text(UNIT.read_text(encoding="utf-8").replace(COMMAND, shutil.which("true") or ""), encoding="utf-8")
    done = tools.try_to_run("systemd-analyze", "verify", "--man=no", path)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@with_systemd
def test_systemd_finds_the_service_confined(tools: Tools) -> None:
    tools.run("systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}", UNIT)


def test_service_may_end_after_its_last_answers() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(UNIT.read_text(encoding="utf-8"))
    assert unit["Service"]["ExecStart"].startswith(f"{COMMAND} serve ")
    allowed = float(unit["Service"]["TimeoutStopSec"].removesuffix("s"))
    assert ServerSettings().drain_seconds + 2 * LAST_ANSWERS_SECONDS < allowed
