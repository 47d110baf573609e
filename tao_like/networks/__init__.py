"""Parts that the networks of several tasks share: timm backbones, pretrained weights, freezing."""
