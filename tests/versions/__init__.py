"""The core of tests/e2e on the older Airflows that dagcall supports, each with its scheduler: `make versions`."""
