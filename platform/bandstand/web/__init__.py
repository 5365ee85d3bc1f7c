"""What stands around the application in a web process: ASGI layers that any server can run, and the server we run."""
