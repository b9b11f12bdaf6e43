"""The download step: published files from mirrors and from the web, checked by hash."""
