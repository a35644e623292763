"""Import and export: what a line holds, and how it is added.

kinds.py                       one description for each kind of line
entries.py                     a line with its number, and what identifies it
imports.py                     a whole import
import_objects.py, import_messages.py   one object; a run of messages of one session
"""
