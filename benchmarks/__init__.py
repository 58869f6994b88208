"""Benchmark programs: `python -m benchmarks NAME`. Results go to benchmarks/results, with their logs."""
