"""Django's PostgreSQL backend with a transaction timeout and another pool (see `base`)."""
