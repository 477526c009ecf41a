"""Read-only queries on the tables, for the command line, the API and the console."""
