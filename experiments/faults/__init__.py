"""Which faults a run outlives, what is promised for each, and the tests that inject them."""
