"""`python -m tests.mutants`: break the program on purpose and list the faults that no test notices."""

import sys

from tests.mutants.tool import main

if __name__ == "__main__":  # processes that run tests import this file, too
    sys.exit(main())
