"""Benchmarks: run with `make bench`. They print figures and judge nothing."""
