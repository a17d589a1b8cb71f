"""The command `dagcall`, and `python -m dagcall`."""

from dagcall.gc_tuning import loading


def main() -> None:
    """Run the command that was typed."""
    with loading():
        from dagcall.cli import main as command  # noqa: PLC0415 - this is what is loaded

    command()


if __name__ == "__main__":
    main()
