"""Foundation: errors, ids, clock, JSON, database threads, retries, locks, HTTP client. Imports nothing else of ours."""
