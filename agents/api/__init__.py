"""REST `/api/v1`: each view parses, authenticates, calls one function of `agents.sessions` and renders the result."""
