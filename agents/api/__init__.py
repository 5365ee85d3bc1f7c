"""REST `/api/v1`: parse, authenticate, call one verb, answer in one shape."""
