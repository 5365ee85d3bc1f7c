"""The process that runs turns: it claims them, renews their leases, and requeues those that it cannot finish."""
