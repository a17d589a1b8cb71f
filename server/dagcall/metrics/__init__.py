"""Prometheus metrics of one server: what they are called, what is counted as it happens, what is read when asked.

The only importer of prometheus_client. Refuses to know how they are served, and where else they might go.
"""

from dagcall.metrics.metrics import Metrics
from dagcall.metrics.names import METRICS, Metric
from dagcall.metrics.state import State

__all__ = ["METRICS", "Metric", "Metrics", "State"]
