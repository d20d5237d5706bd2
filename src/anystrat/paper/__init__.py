"""The paper account: what a fill costs and what it does to a position. Shared by live paper trading, replay and backtest."""
