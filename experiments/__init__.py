"""Evidence: one folder per claim, each with a script, a README and committed results."""
