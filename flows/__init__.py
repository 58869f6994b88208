"""Prefect flows: wiring only, which task follows which."""
