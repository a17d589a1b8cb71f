"""The folder of pins: nobody reads half a pin, and what cannot be written is said."""

from pathlib import Path

import pytest

from dagcall.errors import ConfigError
from dagcall.tools.pin_folder import PinFolder
from dagcall.tools.pins import pin_text

TOOL = {"name": "t", "description": "Kind."}


def test_a_pin_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    """A writer that ends halfway leaves the pin that was there."""
    folder = PinFolder(tmp_path / "new" / "pins")
    assert folder.write("t", pin_text(TOOL)) == tmp_path / "new" / "pins" / "t.json"
    (folder.path / ".t.new").write_text(pin_text(TOOL)[:10], encoding="utf-8")
    assert folder.read().tools == {"t": TOOL}
    assert not folder.read().broken


def test_what_cannot_be_written_or_removed_is_said(tmp_path: Path) -> None:
    folder = PinFolder(tmp_path)
    (tmp_path / "t.json").mkdir()
    assert folder.read().broken == {"t": "it cannot be read"}
    with pytest.raises(ConfigError, match=r"the pin .*t\.json cannot be written: Is a directory"):
        folder.write("t", pin_text(TOOL))
    with pytest.raises(ConfigError, match=r"the pin .*t\.json cannot be removed: "):
        folder.remove("t")


def test_a_name_in_another_case_is_another_tool(tmp_path: Path) -> None:
    (tmp_path / "T.json").write_text(pin_text(TOOL), encoding="utf-8")
    pins = PinFolder(tmp_path).read()
    assert pins.broken == {"T": "it contains the tool 't'"}
    assert pins.objection(TOOL) == "tool t is not pinned; review it and run: dagcall pin t"
