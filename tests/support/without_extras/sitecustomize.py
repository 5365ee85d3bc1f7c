"""In processes that tests start, some packages that came with the tests cannot be imported: an installation has none.

Libraries take these along where they find them (structlog rich, Django REST framework requests and Pygments), which
costs each process a fifth of its start.
"""

import sys

for _name in ("pygments", "requests", "rich"):
    sys.modules[_name] = None  # type: ignore[assignment]  # what makes an import raise
