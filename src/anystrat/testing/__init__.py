"""What tests of strategies and of the engine are made from: synthetic ticks, fakes, small servers."""
