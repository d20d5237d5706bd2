"""Sweeps: many variants of the same strategies over the same ticks, and how much of the best one's lead is luck.

`space` says what varies, `trial` what became of one variant, `folds` walks forward, `result` holds all of it, `page` draws it.
Running the trials is `bootstrap.sweeping`'s.
"""
