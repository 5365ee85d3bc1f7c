"""REST `/api/v1`: each view parses, authenticates, calls a function of `agents.sessions` (or a query) and renders."""
