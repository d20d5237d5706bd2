"""What a package of somebody else's adds to anystrat: one of each kind, all through entry points."""
