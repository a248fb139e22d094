"""Files on disk: their headers, their state, and how new ones are written."""
