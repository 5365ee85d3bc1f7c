"""The pages of the user's own account and of password resets."""
