"""How large the code is, and how it is laid out, at a commit and at another."""
