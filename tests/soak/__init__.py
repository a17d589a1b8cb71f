"""Many mixed calls within minutes: at the end, dagcall's resources have not grown.

make soak                fifteen minutes; writes docs/benchmarks.md
make soak SECONDS=120
"""
