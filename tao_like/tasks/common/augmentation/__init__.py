"""Random changes of training pictures; class labels, boxes and masks follow. Built on torchvision's v2."""
