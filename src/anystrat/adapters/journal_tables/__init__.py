"""A journal as tables, whichever database they are in: their rows, what is read of them, and who writes them."""
