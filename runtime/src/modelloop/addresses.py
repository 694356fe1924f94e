"""Addresses as they may be shown and kept."""

from urllib.parse import urlsplit


def without_credentials(uri: str) -> str:
    """The address without user, password and query string, fit for logs and for MLflow."""
    parts = urlsplit(uri)
    if not parts.scheme or len(parts.scheme) == 1:  # a path, on Windows with a drive letter
        return uri
    # Not urlunsplit: it makes sqlite://tmp of sqlite:////tmp.
    slashes = "//" if "://" in uri else ""
    return f"{parts.scheme}:{slashes}{parts.netloc.rpartition('@')[2]}{parts.path}"
