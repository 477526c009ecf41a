"""What acts: the agent that claims steps and the drivers that run them."""
