"""What is wrong: pure functions from frames to findings, a module per symptom, found by code in `registry`."""
