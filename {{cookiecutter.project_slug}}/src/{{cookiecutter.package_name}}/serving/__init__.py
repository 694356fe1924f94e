"""The model server: what it answers, in Seldon's format, over HTTP."""
