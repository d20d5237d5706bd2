from anystrat import StrategyRunnerService

model = "examples/quickstart/models/momentum.onnx"
service = StrategyRunnerService()
service.register("ml_momentum", instruments=[1], model_path=model, min_conf=0.4, max_position_size=100)
for signal in service.run("examples/snippets/prices.csv"):
    print(signal.signal_type, signal.quantity, "at", signal.price, f"confidence {signal.confidence:.2f}")
