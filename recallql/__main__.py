"""`python -m recallql`: the command."""

from recallql.commands.cli import main

main()
