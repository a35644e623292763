"""The stored data: tables, keys, statements and migrations. All SQL is in this package."""
