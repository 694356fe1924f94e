"""Fixtures and stand-ins that the tests of repositories and of the library share."""
