"""The imported network against onnxruntime, judged by channel and by rounding."""
