"""Figure 4: answers and nearest neighbours."""
