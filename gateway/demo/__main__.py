"""`python -m gateway.demo`: what `make demo` runs, and with --stay what `make serve` runs."""

from __future__ import annotations

import sys

from gateway.demo.program import main

sys.exit(main(sys.argv[1:]))
