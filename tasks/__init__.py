"""Thin Prefect tasks: one frozen spec in, one small record out, one call into segcore."""
