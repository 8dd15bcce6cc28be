"""Pictures, tables and the HTML page of finished runs."""
