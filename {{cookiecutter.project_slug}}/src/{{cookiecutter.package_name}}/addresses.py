"""Addresses as they may be shown and kept."""

from urllib.parse import urlsplit, urlunsplit


def without_credentials(uri: str) -> str:
    """The address without user, password and query string, fit for logs and for MLflow."""
    parts = urlsplit(uri)
    if not parts.scheme or len(parts.scheme) == 1:  # a path, on Windows with a drive letter
        return uri
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
