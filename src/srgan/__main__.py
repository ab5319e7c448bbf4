"""`python -m srgan` and the `srgan` command."""

import sys


def main() -> None:
    """Run the command line on this process's arguments and leave with its exit code."""
    from srgan import cli

    sys.exit(cli.main())


if __name__ == "__main__":
    main()
