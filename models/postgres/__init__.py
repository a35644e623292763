"""The parts that only PostgreSQL needs.

engine.py                      a database that a URL names
migrate.py                     applies the migrations, or checks that they were applied
citus.py                       distributes the tables over a cluster (see `models.distribution`)
snapshot.py, filling.py        reads of one snapshot; a database that gets all rows of another one
connecting.py, pool.py         connections with the types of the store; a bounded number of them, taken in turns
database.py, transaction.py    the store; its transactions, which are repeated when another one was faster
reading.py                     reads
dialect.py, forms.py           how PostgreSQL writes an expression; a statement as the driver takes it
word_index.py, word_search.py  full text: writes the index, and reads it
vectors.py                     vectors of texts
faults.py                      explains the driver's errors
"""
