"""What the HTTP interfaces share that knows sessions: streams of events, and the re-check of who reads them."""
