from anystrat import StrategyRunnerService, rule


@rule(history=20)
def my_momentum(prices, threshold=0.05):
    change = prices[-1] / prices[0] - 1
    side = "BUY" if change > 0 else "SELL"
    return (side, min(1.0, 5 * abs(change))) if abs(change) > threshold else None


service = StrategyRunnerService()
service.register(my_momentum, instruments=[1], threshold=0.08, max_position_size=100)
for signal in service.run("examples/snippets/prices.csv"):
    print(signal.signal_type, signal.quantity, "at", signal.price, f"confidence {signal.confidence:.2f}")
