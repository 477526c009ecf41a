"""Programs of our own that read a capture through an optional library and write JSON."""
