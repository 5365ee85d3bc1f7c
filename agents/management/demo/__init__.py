"""Generated conversations of three months, in any number: to try the console, and to measure it when it is full.

`agents_and_users` makes the agents, users and runners, `plan` draws the conversations and their times, `rows` generates
the rows that the product would have written, and `loading` copies them into the tables in one transaction.
"""
