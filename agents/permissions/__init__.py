"""Who may use which agent, who may read transcripts, and what else people may do with turns and agents."""
