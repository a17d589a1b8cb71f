"""An hour's mixed calls within minutes: at the end nothing has grown that was level at the beginning.

make soak                fifteen minutes; writes docs/benchmarks.md
make soak SECONDS=120
"""
