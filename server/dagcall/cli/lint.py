"""`dagcall lint`: what would leave a model guessing, or make a provider refuse."""

from dataclasses import asdict
from typing import Annotated

import typer

from dagcall.cli.options import AirflowPythonOption, ConfigOption, DagsOption, settings_at
from dagcall.cli.reading import dag_files_in, run_to_end
from dagcall.cli.terminal import readable
from dagcall.errors import ConfigError


def lint(
    *,
    config: ConfigOption = None,
    dags: DagsOption = None,
    airflow_python: AirflowPythonOption = "python",
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 on warnings, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print findings and tokens as JSON.")] = False,
) -> None:
    """Find what leaves a model guessing, and what a provider refuses.

    For each finding, it says what to write instead.

    Without --dags, it also looks at recent runs in Airflow: how long they took, and how large their results were.

    Exit code: 0 if nothing of level error was found, 1 if something was, 2 if it could not look.
    """
    from dagcall.cli.findings import look, show_findings  # noqa: PLC0415 - slow to import
    from dagcall.lint import Level, findings_about  # noqa: PLC0415 - likewise

    settings = settings_at(config)
    if not settings.policies:
        raise ConfigError("there is nothing to look at: the allow-list is empty; add [[tools]] to the settings")
    evidence = run_to_end(look(settings, dag_files_in(dags, airflow_python)))
    findings = findings_about(evidence)
    if as_json:
        tokens = {"tools": evidence.tokens, "total": sum(evidence.tokens.values())}
        print(readable({"findings": [asdict(finding) for finding in findings], "tokens": tokens}))
    else:
        show_findings(findings, evidence)
    if any(strict or finding.level == Level.ERROR for finding in findings):
        raise typer.Exit(1)
