"""Spans beyond those that the MCP SDK makes: the phases of calls, and the runs and tasks in Airflow.

Makes spans from times that are known already, so that a call pays nothing without a provider. Refuses to know where
spans go: `cli` sets the provider.
"""

from dagcall.traces.traces import Traces

__all__ = ["Traces"]
