"""Where raw documents come from. The only code that touches a network, a process or a file it was not given."""
