"""One technology, one file, one extra. Only `bootstrap` imports from here."""
