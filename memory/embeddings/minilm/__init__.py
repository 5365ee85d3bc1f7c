"""The model all-MiniLM-L6-v2 on this machine's processor, without torch: its files, its graph, and how it runs."""
