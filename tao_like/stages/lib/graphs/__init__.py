"""Files of ONNX graphs: written from torch, folded, merged, and what they cost."""
