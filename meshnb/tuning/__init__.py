"""The control plane: golden signals, the bottleneck, what a setting would change."""
