"""`make up` and its family: the chain as local processes or as containers.

Standard library only: it runs before anything is installed.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - the person may have an older one, and deserves a sentence
    sys.exit(f"ClearDigits needs Python 3.11 or newer and this is {sys.version.split()[0]}: make up PYTHON=python3.11")
