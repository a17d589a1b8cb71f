"""The command `dagcall`, and `python -m dagcall`."""

from dagcall.gc_tuning import loading


def main() -> None:
    """Run the command line."""
    with loading():
        from dagcall.cli import main as command  # noqa: PLC0415 - imported without garbage collection

    command()


if __name__ == "__main__":
    main()
