"""The command line, ``babygun``: one module a command. ``babygun --help`` lists them."""

from babygun.cli.main import main

__all__ = ["main"]
