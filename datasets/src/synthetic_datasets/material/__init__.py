"""What samples are made of: digits, backgrounds, streets, paintings."""
