"""GoCD: find mistakes in pipeline files here, let a GoCD server check them."""
