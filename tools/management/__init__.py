"""What the tools app adds to `manage.py`."""
