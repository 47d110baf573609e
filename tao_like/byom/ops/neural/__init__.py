"""Operations with an axis of channels or of time: layers, activations, attention, pooling, images, boxes."""
