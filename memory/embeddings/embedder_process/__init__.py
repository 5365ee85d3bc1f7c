"""The embedder: one process per machine that holds an embedding model, for all other processes.

It is of the compute pool's kind: an empty environment, no descriptors of ours, no database, bounded memory; but it
lives on, at normal priority. Whoever needs it first starts it; it ends when nobody has asked for a while.
"""
