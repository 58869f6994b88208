"""Metrics, the gate, lineage and the decisions of the loop: pure functions."""
