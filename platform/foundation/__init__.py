"""Foundation: errors, ids, clock, JSON, database threads, retries, locks, HTTP client. Imports no other package."""
