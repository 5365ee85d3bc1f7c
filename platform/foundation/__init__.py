"""Foundation: errors, ids, clock, JSON, database threads, HTTP client. Imports nothing else of ours."""
