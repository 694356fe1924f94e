"""The how-to pages of this version, and what makes HTML of them: `make docs`."""
