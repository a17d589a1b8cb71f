"""Builds what `dist/` has beside wheel and sdist: the MCPB bundle, the Helm chart and the locked requirements."""

import shutil
import tempfile
from pathlib import Path

from tests.packaging.tools import Tools

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "dagcall"
REQUIREMENTS = ["export", "--frozen", "--quiet", "--no-dev", "--no-emit-project", "--no-header"]
"""What uv is asked for the versions and hashes of all that dagcall needs."""
BUNDLE_PROJECT = """\
[project]
name = "dagcall-bundle"
version = "{version}"
requires-python = ">=3.11"
dependencies = ["dagcall"]

[tool.uv]
package = false

[tool.uv.sources]
dagcall = {{ path = "{wheel}" }}
"""
"""The project in the bundle, of which `uv run` makes an environment: dagcall's wheel, and what uv.lock has."""


def build_bundle(wheel: Path, folder: Path, tools: Tools) -> Path:
    """Write `dagcall-<version>.mcpb` into a folder; return its path.

    The client runs it with its own uv, which installs exactly what dagcall's uv.lock has, by hash.
    """
    version = wheel.name.split("-")[1]
    path = folder / f"dagcall-{version}.mcpb"
    with tempfile.TemporaryDirectory() as made:
        content = Path(made) / "bundle"
        shutil.copytree(DEPLOY / "mcpb", content, ignore=shutil.ignore_patterns("__pycache__"))
        for file in (wheel, ROOT / "LICENSE"):
            shutil.copy(file, content)
        project = BUNDLE_PROJECT.format(version=version, wheel=wheel.name)
        (content / "pyproject.toml").write_text(project, encoding="utf-8")
        shutil.copy(ROOT / "uv.lock", content)  # uv keeps the versions of a lock file that it finds
        tools.run(tools.uv, "lock", "--quiet", folder=content)
        tools.run_node("mcpb", "validate", content / "manifest.json")
        tools.run_node("mcpb", "pack", content, path)
    return path


def build_chart(folder: Path, tools: Tools) -> Path:
    """Write `dagcall-<version>.tgz` into a folder; return its path."""
    return Path(tools.helm("package", CHART, folder))


def write_requirements(folder: Path, tools: Tools) -> Path:
    """Write `requirements.txt` into a folder, for installations of the locked versions; return its path."""
    path = folder / "requirements.txt"
    path.write_text(tools.run(tools.uv, *REQUIREMENTS, folder=ROOT), encoding="utf-8")
    return path
