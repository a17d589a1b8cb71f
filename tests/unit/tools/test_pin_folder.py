"""The folder of pins: partial pins are never read, and write errors are reported."""

from pathlib import Path

import pytest

from dagcall.errors import ConfigError
from dagcall.tools.pin_folder import PinFolder
from dagcall.tools.pins import pin_text

TOOL = {"name": "t", "description": "Kind."}


def test_partially_written_pin_is_never_read(tmp_path: Path) -> None:
    """If a writer stops halfway, the previous pin remains."""
    folder = PinFolder(tmp_path / "new" / "pins")
    assert folder.write("t", pin_text(TOOL)) == tmp_path / "new" / "pins" / "t.json"
    (folder.path / ".t.new").write_text(pin_text(TOOL)[:10], encoding="utf-8")
    assert folder.read().tools == {"t": TOOL}
    assert not folder.read().broken


def test_pin_that_cannot_be_written_or_removed_is_a_config_error(tmp_path: Path) -> None:
    folder = PinFolder(tmp_path)
    (tmp_path / "t.json").mkdir()
    assert folder.read().broken == {"t": "it cannot be read"}
    with pytest.raises(ConfigError, match=r"the pin .*t\.json cannot be written: Is a directory"):
        folder.write("t", pin_text(TOOL))
    with pytest.raises(ConfigError, match=r"the pin .*t\.json cannot be removed: "):
        folder.remove("t")


def test_pin_names_are_case_sensitive(tmp_path: Path) -> None:
    (tmp_path / "T.json").write_text(pin_text(TOOL), encoding="utf-8")
    pins = PinFolder(tmp_path).read()
    assert pins.broken == {"T": "it contains the tool 't'"}
    assert pins.objection(TOOL) == "tool t is not pinned; review it and run: dagcall pin t"
