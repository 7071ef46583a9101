"""The commands, one a file; each is a function that `app.py` registers."""
