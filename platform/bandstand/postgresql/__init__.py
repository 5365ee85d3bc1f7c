"""Django's PostgreSQL backend with the two things that settings alone cannot say (see `base`)."""
