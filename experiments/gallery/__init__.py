"""Pictures of what a person sees."""
