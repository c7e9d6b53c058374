"""What the 2012 source does and the paper does not say, measured where it can be measured here."""
