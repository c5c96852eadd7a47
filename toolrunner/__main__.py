"""``python -m toolrunner``, and the console script."""

import sys

from toolrunner.api.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
