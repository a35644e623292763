"""Import and export: the format of lines, and their import.

kinds.py                       one description for each kind of line
entries.py                     a line with its number and identity
imports.py                     a whole import
import_objects.py, import_messages.py   one object; a run of messages of one session
"""
