"""What an ONNX file says about itself, for people: read only after the model was accepted, from the very same bytes."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Final

from anystrat.adapters.onnx_checks import OUTPUT
from anystrat.adapters.onnx_model import load_onnx
from anystrat.domain.errors import ModelRefused

_LARGEST_CARD: Final = 1_000_000


def model_facts(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The contract of a model that loads, how it was made, and the model card beside it (`card` is None without one).

    Raises `ModelRefused` and `MissingExtra`, as loading does.
    """
    import onnx

    model = load_onnx(path)
    file = Path(path)
    content = file.read_bytes()
    if hashlib.sha256(content).hexdigest() != model.sha256:
        raise ModelRefused(f"{file}: the file changed while it was read; try again when it is at rest")
    proto = onnx.load_model_from_string(content)
    card_path, card = _card(file)
    producer = " ".join(part for part in (proto.producer_name, proto.producer_version) if part)
    return {
        "path": str(file),
        "features": list(model.feature_names),
        "history": model.history_length,
        "input": f"{proto.graph.input[0].name}: float32 [N, {len(model.feature_names)}]",
        "output": f"{OUTPUT}: float32 [N, 3]",
        "batchable": model.batchable,
        "operators": sorted({node.op_type for node in proto.graph.node}),
        "opset": {entry.domain: entry.version for entry in proto.opset_import},
        "producer": producer,
        "bytes": len(content),
        "sha256": model.sha256,
        "card_path": card_path,
        "card": card,
    }


def _card(model: Path) -> tuple[str | None, Any]:
    """The model card: `<model>.card.json` beside the model, as its plain value; text that is no JSON as it is."""
    for name in (f"{model.stem}.card.json", f"{model.stem}.json"):
        card = model.with_name(name)
        try:
            with card.open(encoding="utf-8") as stream:
                text = stream.read(_LARGEST_CARD)
        except (OSError, ValueError):
            continue
        try:
            return str(card), json.loads(text)
        except ValueError:
            return str(card), text
    return None, None
