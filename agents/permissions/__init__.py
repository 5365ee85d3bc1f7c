"""Who may talk to which agent, who may read what was said, and what the roles may do with turns and agents."""
