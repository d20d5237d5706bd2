"""Rules, ML and hybrid strategies, one a file, with their features, indicators and policies; and the catalogue of all."""
