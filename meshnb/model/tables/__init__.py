"""Every table of meshnb, declared once, a module per family."""
