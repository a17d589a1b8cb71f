"""`[metrics]`: who may read Prometheus metrics, and where."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from dagcall.auth import Selectors

Access = Literal["open", "callers", "none"]
"""Who may read `/metrics` on dagcall's own port: everybody who reaches it, some callers, or nobody."""


class MetricsSettings(BaseModel):
    """`[metrics]`: Prometheus metrics at `/metrics`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    callers: Selectors | None = None
    """With authentication: who may read /metrics on dagcall's own port, as in `[[tools]]`: ["key:prometheus"]. Default:
    nobody."""
    port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    """A second port for /metrics, without authentication, also on stdio. dagcall's own port then has no /metrics."""
    host: str = "127.0.0.1"
    """The address of the second port. Beyond this machine, whoever reaches it can read the names of tools and how often
    they are called."""

    def access(self, *, is_authenticated: bool, is_within: bool) -> Access:
        """Return who may read `/metrics` on dagcall's own port.

        Args:
            is_authenticated: whether callers authenticate.
            is_within: whether only this machine reaches the port.
        """
        if self.port is not None:
            return "none"
        if is_authenticated:
            return "callers"
        return "open" if is_within else "none"
