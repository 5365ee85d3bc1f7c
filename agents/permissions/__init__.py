"""Who may use which agent, who may read transcripts, and the permissions of the roles on turns and agents."""
