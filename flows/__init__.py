"""What happens, in order: one flow per file."""
