"""The experiments are scripts beside the package: their tests import them by file name."""

import sys

from tests.commands import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "experiments"))
