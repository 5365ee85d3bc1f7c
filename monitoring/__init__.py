"""What the operators watch: it reads the rows that other rooms write."""
