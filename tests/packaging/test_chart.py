"""The Helm chart: Helm's linter, Kubernetes' schemas, and what dagcall needs from its pods."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from dagcall.cli.serve import LAST_ANSWERS_SECONDS
from dagcall.settings.settings import load_settings
from tests.packaging.packages import CHART, build_chart
from tests.packaging.tools import ToolError, Tools

VALUES = sorted((CHART / "ci").glob("*-values.yaml"))
SMALLEST, EVERYTHING = CHART / "ci" / "smallest-values.yaml", CHART / "ci" / "everything-values.yaml"
KUBERNETES = ["1.25", "1.37"]
"""The oldest version that Chart.yaml allows, and the newest that the tool knows."""
FROM_OTHERS = {"servicemonitor"}
"""Resources that Kubernetes' own schemas do not have."""

Resources = dict[str, Any]


@pytest.fixture(scope="module", params=VALUES, ids=lambda path: path.stem)
def values(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


@pytest.fixture(scope="module")
def resources(values: Path, tools: Tools) -> Resources:
    rendered: Resources = tools.helm("render", CHART, values)
    return rendered


def test_helm_finds_nothing(values: Path, tools: Tools) -> None:
    assert tools.helm("lint", CHART, values) == []


def test_examples_render_everything(tools: Tools) -> None:
    templates = {path.stem for path in (CHART / "templates").glob("[a-z]*.yaml")}
    assert tools.helm("render", CHART, EVERYTHING).keys() == templates
    assert tools.helm("render", CHART, SMALLEST).keys() == templates - {"servicemonitor"}


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_schemas_accept_the_resources(
    resources: Resources, tools: Tools, tmp_path: Path, version: str
) -> None:
    paths = []
    for name in resources.keys() - FROM_OTHERS:
        paths.append(tmp_path / f"{name}.yaml")
        paths[-1].write_text(json.dumps(resources[name]), encoding="utf-8")
    tools.run("kubernetes-validate", "--strict", "--version", version, *paths)


def test_prometheus_schema_accepts_the_service_monitor(tools: Tools) -> None:
    monitor = tools.helm("render", CHART, EVERYTHING)["servicemonitor"]
    tools.run_node("service_monitor.mjs", json.dumps(monitor))
    with pytest.raises(ToolError, match="endpoints"):
        tools.run_node("service_monitor.mjs", json.dumps(monitor | {"spec": {}}))


def test_pods_have_the_rights_of_nobody(resources: Resources) -> None:
    pod = pod_of(resources)
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container_of(resources)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_service_links_set_no_unknown_variables(resources: Resources) -> None:
    """Kubernetes would set `DAGCALL_PORT`, and dagcall refuses variables that it does not know."""
    assert pod_of(resources)["enableServiceLinks"] is False


def test_pods_may_end_after_their_last_answers(resources: Resources) -> None:
    variables = {each["name"]: each.get("value") for each in container_of(resources)["env"]}
    pause = int(container_of(resources)["lifecycle"]["preStop"]["exec"]["command"][1])
    needed = pause + float(variables["DAGCALL_SERVER_DRAIN_SECONDS"]) + 2 * LAST_ANSWERS_SECONDS
    assert needed < pod_of(resources)["terminationGracePeriodSeconds"]


def test_probes_ask_what_dagcall_answers(resources: Resources) -> None:
    container = container_of(resources)
    assert [container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")] == [
        "/health",
        "/health",
        "/ready",
    ]


def test_settings_of_the_examples_load(resources: Resources, tmp_path: Path) -> None:
    text = resources["configmap"]["data"]["dagcall.toml"]
    for secret in re.findall(r'_file = "([^"]+)"', text):
        (tmp_path / secret).write_text("secret")
    (tmp_path / "dagcall.toml").write_text(text, encoding="utf-8")
    assert load_settings(tmp_path / "dagcall.toml", server={"host": "0.0.0.0"}, environ={}).policies  # noqa: S104 - as in the image


def test_example_in_the_values_is_the_smallest_one(tools: Tools) -> None:
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    (example,) = re.findall(r"^#   settings: \|\n((?:#.*\n)+)", text, re.MULTILINE)
    shown = "".join(line.removeprefix("#     ").removeprefix("#") for line in example.splitlines(keepends=True))
    smallest = tools.helm("render", CHART, SMALLEST)
    assert smallest["configmap"]["data"]["dagcall.toml"].strip() == shown.strip()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"secretName": "dagcall"}, "set `settings` to the content of dagcall.toml"),
        ({"settings": "pins = 1"}, "set `secretName` to a Secret"),
        ({"replicas": 3}, "additional properties 'replicas' not allowed"),
    ],
    ids=["no settings", "no secret", "misspelt"],
)
def test_wrong_values_are_refused(tools: Tools, tmp_path: Path, values: dict[str, Any], message: str) -> None:
    path = tmp_path / "values.yaml"
    path.write_text(json.dumps(values))
    with pytest.raises(ToolError, match=re.escape(message)):
        tools.helm("render", CHART, path)


def test_chart_is_packaged(tools: Tools, tmp_path: Path) -> None:
    path = build_chart(tmp_path, tools)
    assert tools.helm("render", path, SMALLEST) == tools.helm("render", CHART, SMALLEST)


def pod_of(resources: Resources) -> Any:
    return resources["deployment"]["spec"]["template"]["spec"]


def container_of(resources: Resources) -> Any:
    (container,) = pod_of(resources)["containers"]
    return container
