"""`[airflow]`: the address, as people copy it."""

import pytest

from dagcall.settings.airflow import AirflowSettings


@pytest.mark.parametrize(
    ("pasted", "url"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("https://airflow.example/", "https://airflow.example"),
        ("https://cluster.astronomer.run/abc/home", "https://cluster.astronomer.run/abc"),
        ("https://cluster.astronomer.run/abc/home?orgId=org_1", "https://cluster.astronomer.run/abc"),
        ("https://airflow.example/team/api/v2/", "https://airflow.example/team"),
        ("https://[::1]:8443/#/dags", "https://[::1]:8443"),
    ],
)
def test_address_is_taken_as_copied_from_a_browser(pasted: str, url: str) -> None:
    assert AirflowSettings(url=pasted).url == url
    assert AirflowSettings(ui_url=pasted).ui_url == url
