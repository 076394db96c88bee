"""Nouns of meshnb, standard library only: frames, findings, windows, manifests."""
