"""SQLite: how its file is opened, read, written, searched and looked after. Only this folder uses the driver.

database.py                    one file: connections, and the one writer
reading.py                     short reads in the event loop, long ones in threads
file_health.py, clearing.py    damage and full disks; the bytes of removed rows leave the files
word_index.py, word_search.py  full text: keeping the index, and reading it
containment.py                 what the dialect lacks
migrate.py, staging.py         the file's tables; the lines of an import, in order
"""
