"""Becomes the script $SCRIPT, as a shell would start it."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    script = os.environ.pop("SCRIPT")
    os.execv(script, [script, *sys.argv[1:]])
