"""`python -m recallql`: the command."""

from recallql.cli import main

main()
