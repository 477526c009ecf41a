"""View models: what templates show, made by pure functions from the models of `reading`."""
