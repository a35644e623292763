"""The commands: `serve`, `import`, `export`, `keys`, `jobs` and the rest.

cli.py                         their arguments and options
archive.py, lines.py           archive files and their lines
jobs.py, keys.py               failed jobs, and API keys
"""
