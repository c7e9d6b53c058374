"""What a person looks at: predictions, features, filters, reports."""
