"""What is kept: tables, keys, statements and migrations. All SQL is in this room."""
