"""Random changes of training images; class labels, boxes and masks follow. Built on torchvision's v2."""
