"""Calls of the demo's dags by every kind of client."""
