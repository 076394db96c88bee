"""A real mesh on one machine: Envoy processes, a control plane, small apps, no root, no cluster."""
