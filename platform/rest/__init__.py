"""The kit of the HTTP interfaces: who asks, what was sent, answers, problems, pages of lists, the schema."""
