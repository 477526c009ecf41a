"""Sources: what each page reads, for one caller; pages without broker or database replace them."""
