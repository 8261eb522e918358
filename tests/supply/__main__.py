"""`python -m tests.supply`: the hashes of what is installed (lock), known faults in it (audit), and its licences."""

from __future__ import annotations

import sys

from tests.supply import audit, licences, lock

COMMANDS = {"lock": lock.write, "audit": audit.audit, "licences": licences.write}

if __name__ == "__main__":
    sys.exit(COMMANDS[sys.argv[1]]())
