"""SQLite: opens, reads, writes, searches and maintains its file. Only this folder uses the driver.

database.py                    one file: connections, and the one writer
reading.py                     short reads in the event loop, long ones in threads
file_health.py, clearing.py    detects damage and full disks; clears the bytes of removed rows from the files
word_index.py, word_search.py  full text: writes the index, and reads it
containment.py                 JSON containment, which SQLite lacks
migrate.py, staging.py         the file's tables; the lines of an import, in order
"""
