"""`[airflow]`: where Airflow is, how to log in, and how much to ask of it."""

import ssl
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from dagcall.airflow import DEFAULT_CEILING, DEFAULT_FLOOR, DEFAULT_QUEUE, MAX_ANSWER_BYTES
from dagcall.errors import ConfigError
from dagcall.settings.log_in import LogInSettings
from dagcall.settings.tls import trusting


class AirflowSettings(LogInSettings):
    """`[airflow]`: where Airflow is and how to log in."""

    table = "airflow"

    url: str = "http://127.0.0.1:8080"
    """The address of Airflow's UI, as in a browser; /home, /api/v2 and a query are ignored."""
    ui_url: str | None = None
    """The address for links in answers, if people reach Airflow under another one. Default: url."""
    ca_file: Path | None = None
    """CA certificates to trust, instead of the system's."""
    client_cert_file: Path | None = None
    """A client certificate, with its chain, for Airflow or the proxy in front of it."""
    client_key_file: Path | None = None
    """The key of client_cert_file, without a password, if it is in a separate file."""
    max_in_flight: Annotated[int, Field(ge=1, le=64)] = DEFAULT_CEILING
    """Maximum concurrent requests to Airflow. dagcall finds how many Airflow answers without delay, up to this many."""
    min_in_flight: Annotated[int, Field(ge=1, le=64)] = DEFAULT_FLOOR
    """Concurrent requests that are allowed however slow Airflow is; not more than max_in_flight."""
    max_in_line: Annotated[int, Field(ge=0)] = DEFAULT_QUEUE
    """Maximum calls in the start queue; further calls are refused and asked to retry later."""
    max_answer_bytes: Annotated[int, Field(ge=1_048_576, le=2**31)] = MAX_ANSWER_BYTES
    """Maximum size of a response from Airflow, in bytes. A larger XCom or log is not read; the answer says so."""

    @field_validator("url", "ui_url")
    @classmethod
    def _require_http_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"{value!r} is not an address such as http://127.0.0.1:8080")
        if parts.username or parts.password:
            raise ValueError("contains a user name or password; set username and password_file instead")
        path = parts.path.rstrip("/").removesuffix("/home").removesuffix("/api/v2")  # as copied from a browser
        return f"{parts.scheme}://{parts.netloc}{path}"

    @model_validator(mode="after")
    def _require_limits_in_order(self) -> Self:
        if self.min_in_flight > self.max_in_flight:
            raise ValueError(f"min_in_flight ({self.min_in_flight}) is above max_in_flight ({self.max_in_flight})")
        return self

    @model_validator(mode="after")
    def _require_whole_certificate(self) -> Self:
        if self.client_key_file is not None and self.client_cert_file is None:
            raise ValueError("client_key_file needs client_cert_file")
        return self

    def tls(self) -> ssl.SSLContext:
        """Return how to verify Airflow's certificate, and the client certificate; verification is never off.

        Raises:
            ConfigError: a file cannot be used.
        """
        context = trusting(self.ca_file, "airflow.ca_file")
        if self.client_cert_file is not None:
            try:
                # An empty password: OpenSSL would ask for one in the terminal.
                context.load_cert_chain(self.client_cert_file, self.client_key_file, password="")
            except (OSError, ssl.SSLError) as error:
                path = self.client_cert_file
                raise ConfigError(f"airflow.client_cert_file: {path} cannot be used: {error}") from error
        return context
