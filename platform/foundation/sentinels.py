"""`UNSET`, the default of arguments for which None is a valid value."""

from enum import Enum
from typing import Final


class Unset(Enum):
    UNSET = "unset"


UNSET: Final = Unset.UNSET
