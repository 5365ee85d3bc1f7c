"""Run one turn: context, model, tools, until there is an answer. Our own loop, so that every step is journaled."""
