"""`make compose-check`: brings compose.yaml up for real, runs a plan, takes it all down again."""
