from anystrat import StrategyRunnerService, rule


@rule(history=20)
def my_momentum(prices, threshold=0.05):
    change = prices[-1] / prices[0] - 1
    side = "BUY" if change > 0 else "SELL"
    return (side, min(1.0, 5 * abs(change))) if abs(change) > threshold else None


model = {"type": "ml_momentum", "model_path": "examples/quickstart/models/momentum.onnx", "min_conf": 0.4}
service = StrategyRunnerService()
service.register("hybrid", instruments=[1], rules=my_momentum, ml=model, policy="majority", max_position_size=100)
for signal in service.run("examples/snippets/prices.csv"):
    print(signal.signal_type, signal.quantity, "at", signal.price, signal.reasoning)
