"""Memories of agents: the vector store. Imports neither `agents` nor `monitoring`."""
