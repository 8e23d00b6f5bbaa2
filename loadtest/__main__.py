"""`python -m loadtest` is the comparison, so that `make bench` has one short name to call."""

from __future__ import annotations

import sys

from loadtest.compare import main

sys.exit(main())
