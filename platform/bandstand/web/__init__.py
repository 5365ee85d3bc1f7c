"""The ASGI middleware around the application, independent of the server, and the server itself (Daphne)."""
