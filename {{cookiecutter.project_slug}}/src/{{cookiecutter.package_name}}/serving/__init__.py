"""The model server: what it answers, in Seldon's format, over HTTP and, on request, gRPC."""
