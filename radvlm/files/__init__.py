"""Files on disk: atomic writing, settings, tables of columns, optional packages."""
