"""Made-up conversations of three months, as many as wanted: to try the console, and to measure it when it is full.

`cast` is who talks with whom, `plan` is when and how it went, `rows` is what the product would have written, and
`loading` puts that into the tables by COPY, in one transaction.
"""
