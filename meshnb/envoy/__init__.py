"""What Envoy would do: names of clusters, response flags, the path of a request."""
