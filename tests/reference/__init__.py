"""A slow, literal reading of the contract, to compare the engine with."""
