"""What the message about a missing dag says about files that Airflow cannot import."""

import pytest

from dagcall.airflow.import_errors import BrokenFile, ImportErrors, import_hint
from dagcall.masking import Masker

TRACEBACK = """Traceback (most recent call last):
  File "/opt/airflow/dags/team/daily.py", line 3, in <module>
    with DAG("sales_report", password="hunter2hunter2"):
ModuleNotFoundError: No module named 'pandas'; password=hunter2hunter2
"""
LOOK = ". Look into Airflow's import errors, too: "
REASON = " does not import in Airflow: ModuleNotFoundError: No module named 'pandas'; password=***"


def hint(*files: BrokenFile, dag_id: str | None = "sales_report", total: int | None = None) -> str:
    return import_hint(ImportErrors(files, len(files) if total is None else total), dag_id, Masker())


@pytest.mark.parametrize("name", ["team/sales_report.py", "Sales-Report.py", "salesreport.zip"])
def test_file_named_like_the_dag_is_reported(name: str) -> None:
    assert hint(BrokenFile("a.py", ""), BrokenFile(name, "KeyError: 1")) == (
        f". The file {name} does not import in Airflow: KeyError: 1"
    )


def test_traceback_that_mentions_the_dag_is_reported_by_its_last_line() -> None:
    assert hint(BrokenFile("team/daily.py", TRACEBACK)) == f". The file team/daily.py{REASON}"
    function = BrokenFile("x.py", "    def sales_report():\nIndentationError: x")
    assert hint(function).startswith(". The file x.py does not import in Airflow: IndentationError")


@pytest.mark.parametrize("traceback", ["", "\n", "REDACTED - you do not have read permission on all Dags in the file"])
def test_uninformative_traceback_is_omitted(traceback: str) -> None:
    assert hint(BrokenFile("sales_report.py", traceback)) == ". The file sales_report.py does not import in Airflow"


@pytest.mark.parametrize("dag_id", ["sales", "airflow", "report", None])
def test_other_files_are_counted(dag_id: str | None) -> None:
    assert hint(BrokenFile("daily.py", TRACEBACK), dag_id=dag_id) == f"{LOOK}1 file does not import (daily.py)"
    files = [BrokenFile(f"{number}.py", TRACEBACK) for number in range(100)]
    assert hint(*files[:3], dag_id=dag_id) == f"{LOOK}3 files do not import (0.py, 1.py, 2.py)"
    assert hint(*files, dag_id=dag_id, total=120) == f"{LOOK}120 files do not import (0.py, 1.py, 2.py, …)"


def test_hint_says_that_the_account_may_not_read_import_errors() -> None:
    hint = import_hint(ImportErrors(may_be_read=False), "d", Masker())
    assert hint == f"{LOOK}dagcall's account may not read them"


def test_hint_is_empty_without_import_errors() -> None:
    assert hint() == ""


def test_long_reason_is_shortened() -> None:
    long = "ValueError: " + "x" * 300
    assert hint(BrokenFile("sales_report.py", long)) == (
        f". The file sales_report.py does not import in Airflow: {long[:97]} … {long[-100:]}"
    )


def test_broken_file_is_parsed_from_airflows_json() -> None:
    assert BrokenFile.from_json({"filename": "a.py", "stack_trace": "E: 1"}) == BrokenFile("a.py", "E: 1")
    assert BrokenFile.from_json({"filename": "a.py", "stack_trace": None}) == BrokenFile("a.py", "")


@pytest.mark.parametrize(
    ("traceback", "reason"),
    [
        ('File "/dags/x.py", line 3, in f\n  y\nFile "/lib/z.py", line 9\nKeyError: 1\n', "line 3: KeyError: 1"),
        ("x.py: duplicate dag id", "x.py: duplicate dag id"),
        ("", "Airflow gives no reason"),
    ],
)
def test_reason_for_a_broken_file(traceback: str, reason: str) -> None:
    assert BrokenFile("x.py", traceback).reason == reason
