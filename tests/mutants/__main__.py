"""`python -m tests.mutants`: break the program on purpose and list the faults that no test notices."""

import sys

from tests.mutants.tool import main

sys.exit(main())
