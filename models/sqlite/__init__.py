"""SQLite: opens, reads, writes, searches and maintains its file. Only this folder uses the driver.

engine.py, migrate.py          a file that a URL names; its tables
backups.py, restoring.py       copies of the file, and their way back into its place
snapshot.py, filling.py        reads of one snapshot; a file that gets all rows of another database
database.py, transaction.py    the one writer, and its transaction
reading.py                     short reads in the event loop, long ones in threads
dialect.py, forms.py           how SQLite writes an expression; a statement as the driver takes it
file_health.py, clearing.py    detects damage and full disks; clears the bytes of removed rows from the files
word_index.py, word_search.py  full text: writes the index, and reads it
vectors.py                     the vectors of texts
containment.py                 JSON containment, which SQLite lacks
staging.py                     the lines of an import, in order
"""
