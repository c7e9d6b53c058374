"""What the paper and courses say, sentence by sentence, and how far it got here."""
