"""Budgets: what may be spent, the ledger of what is, and the prices of models. What spends asks here first."""
