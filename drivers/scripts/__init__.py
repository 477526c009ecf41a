"""Commands and scripts of plans and of the library."""
