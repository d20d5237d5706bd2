"""What touches the outside world: files, databases, message buses, venues."""
