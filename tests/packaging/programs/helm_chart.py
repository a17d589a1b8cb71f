"""Helm's own library, behind three commands that print JSON.

helm_chart.py lint CHART VALUES         what `helm lint --strict` finds
helm_chart.py render CHART VALUES       the resources that `helm template` prints, by the name of their file
helm_chart.py package CHART FOLDER      the path of the archive that `helm package` writes

VALUES is a file.
"""

import json
import sys
from pathlib import Path

import helm_python as helm
import yaml

action, chart, word = sys.argv[1:]
if action == "package":
    print(json.dumps(helm.package(chart, destination=word)))
else:
    values = yaml.safe_load(Path(word).read_text())
    if action == "lint":
        report = helm.lint(chart, values, strict=True)
        # Severity 1 is advice.
        found = [each["error"] for each in report["messages"] if each["severity"] > 1]
        print(json.dumps(found + report["errors"]))
    else:
        with helm.Chart.load(chart) as loaded:
            rendered = loaded.render(values, name="tools", namespace="agents")
        files = {Path(path).stem: text for path, text in rendered.items() if path.endswith(".yaml") and text.strip()}
        print(json.dumps({name: yaml.safe_load(text) for name, text in files.items()}))
