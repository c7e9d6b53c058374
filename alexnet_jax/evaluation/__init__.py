"""How good it is: views, exact counting, ensembles."""
