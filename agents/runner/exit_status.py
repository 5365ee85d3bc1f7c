"""The exit status of a runner that has ended because it is to be started anew."""

from typing import Final

# Not 0: whoever starts processes again only when they failed does so, too. sysexits.h: EX_TEMPFAIL.
EXIT_RESTART: Final = 75
