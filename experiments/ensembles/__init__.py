"""What ten views and several networks gain."""
