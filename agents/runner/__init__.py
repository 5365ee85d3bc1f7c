"""The process that runs turns: it claims them, keeps their leases, and gives back what it cannot finish."""
