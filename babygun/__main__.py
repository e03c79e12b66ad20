"""``python -m babygun``."""

from babygun.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
